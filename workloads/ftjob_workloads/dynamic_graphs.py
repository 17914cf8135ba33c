"""Dynamic graphs in torch: Python decides what is computed, and autograd follows.

What it shows:

* control flow by data: a loop that runs until its result is exact, a branch, and a network that thinks about
  each image for as long as it is unsure; the graph of each is as large as what was done;
* an `autograd.Function` of our own that keeps less for the backward pass than torch would, and one whose
  gradient is not the derivative on purpose; `gradcheck` and `gradgradcheck` compare them with finite
  differences in double precision, and are made to refuse the second, and a wrong one;
* hooks: on a tensor, on a module forward and backward, after a gradient was accumulated, and on what is
  saved for the backward pass; each is compared with what it must see or change.

The network reads handwritten digits. It reaches a test accuracy of 0.967, and 0.90 is demanded; most images
take two rounds, and of the few that take five or six it gets half wrong.

    python -m ftjob_workloads.dynamic_graphs
"""

from __future__ import annotations

# torch leaves `backward()` and its like without types.
# mypy: allow-untyped-calls
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from ftjob_workloads import digits, life

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Swish(torch.autograd.Function):
    """x * sigmoid(x), which keeps only x: written plainly it keeps the sigmoid as well."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Return x * sigmoid(x)."""
        return x * torch.sigmoid(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep what the backward pass needs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Multiply by the derivative; made of torch's operations, so it can be derived again."""
        (x,) = ctx.saved_tensors
        sigmoid = torch.sigmoid(x)
        result: Tensor = gradient * sigmoid * (1 + x * (1 - sigmoid))
        return result


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


@dataclass(frozen=True)
class Answer:
    """What the network says of each image: logits (batch, 10), and after how many rounds (batch,)."""

    logits: Tensor
    rounds: Tensor


class Thinker(nn.Module):
    """Applies one block to an image's state again and again, until it is sure of the answer.

    Parameters
    ----------
    sure
        Probability of the best answer that ends the thinking.
    most
        Rounds after which it ends anyway.
    """

    def __init__(self, sure: float, most: int, width: int = 48) -> None:
        super().__init__()
        self.sure = sure
        self.most = most
        self.look = nn.Linear(64, width)
        self.think = nn.Linear(width, width)
        self.answer = nn.Linear(width, digits.CLASSES)

    def forward(self, images: Tensor) -> Answer:
        """Think about images (batch, 8, 8, 1); the sure ones leave the batch."""
        state = self.look(images.flatten(1))
        rows = torch.arange(len(images), device=images.device)
        rounds = torch.zeros_like(rows)
        left: list[Tensor] = []
        logits: list[Tensor] = []
        for number in range(1, self.most + 1):
            state = state + self.think(swish(state))
            said = self.answer(swish(state))
            ends = (said.detach().softmax(-1).amax(-1) >= self.sure) | (number == self.most)
            logits.append(said[ends])
            left.append(rows[ends])
            rounds[rows[ends]] = number
            state, rows = state[~ends], rows[~ends]
            if not len(rows):
                break
        order = torch.cat(left).argsort()
        return Answer(torch.cat(logits)[order], rounds)


def swish(x: Tensor) -> Tensor:
    """Call `Swish`, which has no types of its own."""
    y: Tensor = Swish.apply(x)
    return y


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


class Trainer:
    """Network and optimizer, and the digits they learn from."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.file: Path = args.checkpoint_dir / "dynamic_graphs.pt"
        self.seed, self.batch = args.seed, args.batch_size
        torch.manual_seed(args.seed)
        self.learn, self.test = digits.load()
        self.model = Thinker(args.sure, args.most)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.learning_rate)
        self.step = 0
        if self.file.exists():
            state = torch.load(self.file)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]

    def rows(self) -> digits.Ints:
        """Return the images of the next step, a function of the step: a resumed run needs no other state."""
        chosen: digits.Ints = np.random.default_rng((self.seed, self.step)).integers(
            len(self.learn.labels), size=self.batch
        )
        return chosen

    def go(self) -> tuple[float, float]:
        """Do one step; return its loss, and how many rounds an image took in the mean."""
        rows = self.rows()
        answer = self.model(torch.from_numpy(self.learn.images[rows]))
        loss = F.cross_entropy(answer.logits, torch.from_numpy(self.learn.labels[rows]))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.item(), answer.rounds.double().mean().item()

    def save(self) -> None:
        """Write a checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        life.replace(self.file, lambda file: torch.save(state, file))

    def score(self) -> dict[str, Any]:
        """Test; return the accuracy, of all and after each number of rounds, and the graphs' sizes."""
        images, labels = torch.from_numpy(self.test.images), torch.from_numpy(self.test.labels)
        with torch.no_grad():
            answer = self.model(images)
        right = answer.logits.argmax(-1) == labels
        by_rounds: dict[str, dict[str, float]] = {}
        for number in answer.rounds.unique().tolist():
            these = answer.rounds == number
            one = images[these][:1]
            by_rounds[str(number)] = {
                "images": int(these.sum()),
                "accuracy": right[these].double().mean().item(),
                "graphNodes": graph_nodes(self.model(one).logits),
            }
        return {"testAccuracy": right.double().mean().item(), "byRounds": by_rounds}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("dynamic_graphs", __doc__)
    p.add_argument("--sure", type=float, default=0.9, help="probability that ends the thinking (%(default)s)")
    p.add_argument("--most", type=int, default=6, help="rounds of thinking (default: %(default)s)")
    p.add_argument("--batch-size", type=int, default=64, help="(default: %(default)s)")
    p.add_argument("--steps", type=int, help="optimizer steps (default: 1000; smoke: 400)")
    p.add_argument("--learning-rate", type=float, default=2e-3, help="(default: %(default)s)")
    p.add_argument("--min-accuracy", type=float, default=0.9, help="exit 1 below it (default: %(default)s)")
    p.add_argument("--checkpoint-every", type=int, default=100, help="steps (default: %(default)s)")
    args = p.parse_args(argv)
    args.steps = args.steps or (400 if args.smoke else 1000)
    return args


def complaints(args: argparse.Namespace, checks: dict[str, bool], score: dict[str, Any]) -> list[str]:
    """Say what is not as it should be."""
    found = [f"not so: {name}" for name, so in checks.items() if not so]
    if score["testAccuracy"] < args.min_accuracy:
        found.append(f"test accuracy {score['testAccuracy']:.4f} is below --min-accuracy {args.min_accuracy}")
    rounds = score["byRounds"]
    often = [number for number, these in rounds.items() if these["images"] >= 5]
    if len(often) < 2:
        found.append(f"the depth does not depend on the image: rounds {', '.join(rounds)}")
    sizes = [these["graphNodes"] for these in rounds.values()]
    if sizes != sorted(set(sizes)):
        found.append(f"the graph does not grow with the rounds: {sizes} nodes")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Check, train, test, and write what was found.

    Returns
    -------
    int
        The exit code: 0, 1 if a check fails or too little was learned, 143 if SIGTERM came first.
    """
    args = parse(argv)
    torch.set_num_threads(1)  # for tensors this small more threads only wait for each other
    stop = life.StopSignal()
    checks = gradients(args.seed) | hooks(args.seed)
    for name, so in checks.items():
        print(f"{'yes' if so else 'NO':4}{name}")

    trainer = Trainer(args)
    start = trainer.step
    print(f"starting at step {start} of {args.steps}")
    life.expect(args.steps)
    losses: list[float] = []
    while trainer.step < args.steps:
        loss, rounds = trainer.go()
        losses.append(loss)
        if stop.seen or trainer.step % args.checkpoint_every == 0 or trainer.step == args.steps:
            trainer.save()
        if stop.seen or trainer.step % 50 == 0:
            print(f"step {trainer.step} loss {loss:.4f} rounds {rounds:.2f}")
            life.report(trainer.step, args.steps, {"loss": loss, "rounds": rounds})
        if stop.seen:
            print(f"stopped at step {trainer.step}")
            return life.STOPPED

    score = trainer.score()
    result = {"checks": checks, "startStep": start, "steps": trainer.step, "losses": losses, **score}
    life.write_result(args.results_dir, result)
    for number, these in score["byRounds"].items():
        print(f"{number} rounds: {these['images']} images, accuracy {these['accuracy']:.3f}")
    print(f"steps={trainer.step} test_accuracy={score['testAccuracy']:.4f}")
    wrong = complaints(args, checks, score)
    for complaint in wrong:
        print(complaint, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
