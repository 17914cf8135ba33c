"""What `dynamic_graphs` shows of autograd before it trains: checks by name, and whether each holds.

`gradients` compares functions of our own and control flow by data with finite differences, `hooks` what hooks
see and change with what they must.
"""

from __future__ import annotations

# torch leaves `backward()` and its like without types.
# mypy: allow-untyped-calls
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from ftjob_workloads.thinker import Swish, Thinker, swish

if TYPE_CHECKING:
    from collections.abc import Callable


class ForgetfulSwish(Swish):
    """The usual mistake: one term of the product rule is missing."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Multiply by half of the derivative."""
        (x,) = ctx.saved_tensors
        return gradient * torch.sigmoid(x)


class RoundThrough(torch.autograd.Function):
    """Round, and pass the gradient on as if nothing had been rounded (straight-through estimator)."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Return the nearest whole numbers."""
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Pass on."""
        return gradient


def square_root(x: Tensor) -> Tensor:
    """Find the root by Newton's method, in as many rounds as the hardest element needs."""
    root = torch.ones_like(x)
    while True:
        better = (root + x / root) / 2
        if torch.allclose(better, root, rtol=1e-14, atol=0):
            return better
        root = better


def branch(x: Tensor) -> Tensor:
    """Take one of two ways, by the sum of the elements."""
    return x.sin() if x.sum() > 0 else (x * x).cumsum(0)


def graph_nodes(result: Tensor) -> int:
    """Count the operations that autograd would go back through."""
    seen: set[Any] = set()
    todo = [result.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo.extend(following for following, _ in node.next_functions)
    return len(seen)


def gradients(seed: int) -> dict[str, bool]:
    """Compare gradients with finite differences, in double precision."""
    torch.manual_seed(seed)
    x = torch.randn(3, 4, dtype=torch.double, requires_grad=True)
    positive = (torch.rand(5, dtype=torch.double) * 100 + 0.1).requires_grad_()
    up = torch.rand(4, dtype=torch.double).add(0.1).requires_grad_()
    down = (-up.detach()).requires_grad_()
    thinker = Thinker(0.25, 4, width=8).double()
    images = torch.rand(6, 8, 8, 1, dtype=torch.double, requires_grad=True)
    passed: Callable[..., bool] = lambda *a: gradcheck(*a, raise_exception=False)  # noqa: E731
    twice: Callable[..., bool] = lambda *a: gradgradcheck(*a, raise_exception=False)  # noqa: E731
    return {
        "swish": passed(swish, (x,)),
        "swish, second derivative": twice(swish, (x,)),
        "swish, as torch's": torch.allclose(swish(x), F.silu(x)),
        "swish, in vmap": torch.equal(torch.func.vmap(swish)(x), swish(x)),
        "a forgotten term is refused": not passed(ForgetfulSwish.apply, (x,)),
        "straight-through is no derivative": not passed(RoundThrough.apply, (x,)),
        "straight-through passes on": torch.equal(
            torch.autograd.grad(RoundThrough.apply(3 * x).sum(), x)[0], torch.full_like(x, 3)
        ),
        "loop": passed(square_root, (positive,)),
        "loop, second derivative": twice(square_root, (positive,)),
        "loop, as torch's": torch.allclose(square_root(positive), positive.sqrt(), rtol=1e-12),
        "loop, longer for larger numbers": graph_nodes(square_root(positive * 1e6))
        > graph_nodes(square_root(positive)),
        "branch, one way": passed(branch, (up,)),
        "branch, the other way": passed(branch, (down,)),
        "branch, two graphs": graph_nodes(branch(up)) != graph_nodes(branch(down)),
        "thinker": passed(lambda i: thinker(i).logits, (images,)),
        "thinker, different rounds": len(thinker(images).rounds.unique()) > 1,
    }


def hooks(seed: int) -> dict[str, bool]:
    """Compare what hooks see and change with what they must."""
    torch.manual_seed(seed)
    found: dict[str, bool] = {}
    x = torch.randn(5, requires_grad=True)

    seen: list[Tensor] = []
    y = x * x
    y.register_hook(seen.append)
    (3 * y).sum().backward()
    found["tensor hook sees the gradient"] = len(seen) == 1 and torch.equal(seen[0], torch.full((5,), 3.0))
    y = x * x
    y.register_hook(lambda gradient: gradient / 2)
    found["tensor hook replaces it"] = torch.equal(torch.autograd.grad(y.sum(), x)[0], x)

    thinker = Thinker(0.25, 4, width=8)
    forward: list[int] = []
    backward: list[int] = []
    handle = thinker.think.register_forward_hook(lambda _module, _inputs, out: forward.append(len(out)))

    def note_gradients(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
        backward.append(len(outputs[0]))

    thinker.think.register_full_backward_hook(note_gradients)
    answer = thinker(torch.rand(20, 8, 8, 1))
    answer.logits.sum().backward()
    busy = [int((answer.rounds >= number).sum()) for number in range(1, int(answer.rounds.max()) + 1)]
    found["forward hook sees each round's images"] = forward == busy
    found["backward hook sees them in reverse"] = backward == busy[::-1]
    handle.remove()
    thinker(torch.rand(20, 8, 8, 1))
    found["a removed hook sees nothing"] = forward == busy

    plain, hooked = nn.Linear(4, 2), nn.Linear(4, 2)
    hooked.load_state_dict(plain.state_dict())
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for weight in hooked.parameters():
        weight.register_post_accumulate_grad_hook(step_at_once)
    for model in (plain, hooked):
        model(torch.ones(3, 4)).square().sum().backward()
    optimizer.step()
    found["steps in the backward pass are the optimizer's"] = all(
        torch.allclose(a, b) for a, b in zip(plain.parameters(), hooked.parameters(), strict=True)
    )
    found["and their gradients are freed by then"] = all(w.grad is None for w in hooked.parameters())
    found["swish keeps half of what torch's operations keep"] = (
        2 * kept_bytes(swish, x) == kept_bytes(lambda v: v * torch.sigmoid(v), x) > 0
    )
    return found


def step_at_once(weight: Tensor) -> None:
    """Do a step of gradient descent as soon as the gradient is there, and free it."""
    assert weight.grad is not None
    with torch.no_grad():
        weight -= 0.1 * weight.grad
    weight.grad = None


def kept_bytes(function: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Measure what a function keeps for its backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = function(x)
    del out  # only now may memory be used again, and an address stand for two tensors
    return sum(kept.values())
