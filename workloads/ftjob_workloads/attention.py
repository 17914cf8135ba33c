"""Multi-head attention written out, compared with torch's fused kernel, measured beside it, and trained.

What it shows:

* `attend`, the five lines that attention is, with a boolean mask (padding, causal, both), and what to do
  about a query that may look at nothing: 0 instead of 0/0;
* that its values and gradients are those of `torch.nn.functional.scaled_dot_product_attention` and of
  `torch.nn.MultiheadAttention` within 1e-5, on lines of real text;
* what the fused kernel gains: median times of both, forward and backward, in a table;
* a reader of handwritten digits, row by row, that is trained with one kernel and tested with the other.

The reader reaches a test accuracy of 0.95, and 0.90 is demanded.

    python -m ftjob_workloads.attention
"""

from __future__ import annotations

# torch leaves `backward()` and its like without types.
# mypy: allow-untyped-calls
import math
import statistics
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from ftjob_workloads import digits, life, text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

TOLERANCE = 1e-5
"""Largest difference to torch that is rounding and no mistake, in values around 1."""


class Kernel(Protocol):
    """Scaled dot-product attention, as torch calls it."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Return for each query a mean of the values; see `attend`."""


def attend(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Mix the values, each by how well its key fits the query (Vaswani et al. 2017, section 3.2.1).

    Parameters
    ----------
    query
        (..., n, d)
    key
        (..., m, d)
    value
        (..., m, e)
    attn_mask
        Boolean, broadcast to (..., n, m): True where a query may look.

    Returns
    -------
    Tensor
        (..., n, e); 0 for a query that may look at nothing, as in torch's own.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if attn_mask is None:
        return torch.softmax(scores, dim=-1) @ value
    # Not -inf: a row of nothing else would become NaN, and so would its gradient.
    scores = scores.masked_fill(~attn_mask, torch.finfo(scores.dtype).min)
    return torch.softmax(scores, dim=-1).masked_fill(~attn_mask, 0.0) @ value


def fused(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Do the same in one kernel of torch's, which never holds the whole score matrix."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask)


def padding_mask(present: Tensor) -> Tensor:
    """Hide what only fills up: from (batch, m), True where there is a token, to (batch, 1, 1, m)."""
    return present[:, None, None, :]


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """Hide what comes later: (length, length)."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


class MultiHeadAttention(nn.Module):
    """Self-attention in several heads, each with a part of the width (ibid., section 3.2.2).

    Parameters
    ----------
    width
        Features of a token, in and out; a multiple of ``heads``.
    heads
        How many mixtures, each of ``width / heads`` features.
    kernel
        `attend` or `fused`.
    """

    def __init__(self, width: int, heads: int, kernel: Kernel = fused) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.heads = heads
        self.kernel = kernel
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let each token look at the others; ``tokens`` and the result are (batch, n, width)."""
        batch, length, width = tokens.shape
        shape = (batch, length, 3, self.heads, width // self.heads)
        query, key, value = self.project_in(tokens).view(shape).permute(2, 0, 3, 1, 4)
        mixed = self.kernel(query, key, value, attn_mask=mask)
        projected: Tensor = self.project_out(mixed.transpose(1, 2).reshape(batch, length, width))
        return projected


def masks(present: Tensor) -> dict[str, Tensor | None]:
    """Return every mask that the program compares, for tokens that are ``present`` (batch, n)."""
    padding, causal = padding_mask(present), causal_mask(present.shape[1], present.device)
    return {"none": None, "padding": padding, "causal": causal, "both": padding & causal}


def sentences(batch: int, length: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Embed lines of real text.

    Returns
    -------
    tuple of Tensor
        Embeddings (batch, length, width), and where there is a character (batch, length). Every other line
        is filled up on the left, so that under both masks its first queries may look at nothing.
    """
    tokens = torch.from_numpy(text.load(length).held_out[:batch])
    tokens[::2] = tokens[::2].flip(1)
    table = torch.randn(text.VOCABULARY, width, generator=torch.Generator().manual_seed(0))
    return table[tokens].to(device), (tokens != text.PAD).to(device)


def differences(device: torch.device, seed: int) -> dict[str, float]:
    """Compare values and gradients with torch's.

    Returns
    -------
    dict
        The largest difference for each mask, of the kernel and of the module.
    """
    torch.manual_seed(seed)
    width, heads = 64, 4
    x, present = sentences(16, 64, width, device)
    ours = MultiHeadAttention(width, heads, attend).to(device)
    theirs = nn.MultiheadAttention(width, heads, batch_first=True, device=device)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.project_in.weight)
        theirs.in_proj_bias.copy_(ours.project_in.bias)
        theirs.out_proj.load_state_dict(ours.project_out.state_dict())
    pairs = [
        (ours.project_in.weight, theirs.in_proj_weight),
        (ours.project_in.bias, theirs.in_proj_bias),
        (ours.project_out.weight, theirs.out_proj.weight),
        (ours.project_out.bias, theirs.out_proj.bias),
    ]
    found: dict[str, float] = {}
    for name, mask in masks(present).items():
        split = (16, 64, heads, width // heads)
        query, key, value = (
            torch.randn(split, device=device).transpose(1, 2).requires_grad_() for _ in range(3)
        )
        direction = torch.randn_like(query)
        kernels = [
            (out, *torch.autograd.grad(out, (query, key, value), direction))
            for out in (attend(query, key, value, mask), fused(query, key, value, mask))
        ]
        found[f"kernel, {name}"] = max((a - b).abs().max().item() for a, b in zip(*kernels, strict=True))

        # nn.MultiheadAttention wants True where it may NOT look, and makes NaN of rows without anything.
        full = torch.ones(64, 64, dtype=torch.bool, device=device) if mask is None else mask
        allowed = full.broadcast_to(16, 1, 64, 64)
        sees = allowed.any(-1).squeeze(1)
        blind = (~allowed & sees[:, None, :, None]).expand(16, heads, 64, 64).flatten(0, 1)
        a = ours(x, mask)[sees]
        b = theirs(x, x, x, attn_mask=blind, need_weights=False)[0][sees]
        gradients = [
            torch.autograd.grad(out.square().mean(), [pair[side] for pair in pairs])
            for side, out in enumerate((a, b))
        ]
        found[f"module, {name}"] = max(
            (a - b).abs().max().item(),
            *((x - y).abs().max().item() for x, y in zip(*gradients, strict=True)),
        )
    return found


def measure(length: int, name: str, repetitions: int, device: torch.device) -> dict[str, float]:
    """Time both kernels on a batch of 8 lines with 8 heads of 32 features.

    Returns
    -------
    dict
        Median milliseconds: ``ownForward``, ``ownBackward``, ``torchForward``, ``torchBackward``.
    """
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(8, 8, length, 32, generator=generator).to(device).requires_grad_() for _ in range(3)
    )
    mask = masks(sentences(8, length, 1, device)[1])[name]
    kernels: dict[str, Kernel] = {"own": attend, "torch": fused}
    times: dict[str, list[float]] = {}
    for repetition in range(repetitions + 2):  # the first two only warm up
        for kernel, function in kernels.items():  # in turns: what else the machine does hits both
            forward, out = _clock(partial(function, query, key, value, attn_mask=mask), device)
            backward, _ = _clock(
                partial(torch.autograd.grad, out, (query, key, value), torch.ones_like(out)), device
            )
            if repetition >= 2:
                times.setdefault(f"{kernel}Forward", []).append(forward)
                times.setdefault(f"{kernel}Backward", []).append(backward)
    return {key: 1000 * statistics.median(seconds) for key, seconds in times.items()}


def _clock(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin, result


class RowReader(nn.Module):
    """Reads a handwritten digit as a text of 8 rows, with one layer of attention."""

    def __init__(self, kernel: Kernel, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(torch.zeros(8, width))
        self.norm = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, 4, kernel)
        self.answer = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, digits.CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, 10) for images (batch, 8, 8, 1)."""
        rows = self.embed(images.squeeze(-1)) + self.place
        rows = rows + self.attention(self.norm(rows))
        logits: Tensor = self.answer(rows.mean(1))
        return logits


def train(args: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Train with `attend`, then test with both kernels.

    Raises
    ------
    life.Missed
        The accuracy is too low, or the kernels do not agree.
    """
    torch.manual_seed(args.seed)
    learn, test = digits.load()
    images, labels = torch.from_numpy(learn.images).to(device), torch.from_numpy(learn.labels).to(device)
    model = RowReader(attend).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(1, args.steps + 1):
        rows = torch.randint(len(labels), (64,), device=device)
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.4f}")

    images, labels = torch.from_numpy(test.images).to(device), torch.from_numpy(test.labels).to(device)
    with torch.no_grad():
        ours = model(images)
        model.attention.kernel = fused
        theirs = model(images)
    difference = (ours - theirs).abs().max().item()
    accuracy = (theirs.argmax(-1) == labels).float().mean().item()
    print(f"trained with attend, tested with torch's kernel: test_accuracy={accuracy:.4f}")
    if accuracy < args.min_accuracy:
        raise life.Missed(f"test accuracy {accuracy:.4f} is below --min-accuracy {args.min_accuracy}")
    if difference > 1e-4:
        raise life.Missed(f"the trained model's logits differ by {difference:.1e} between the kernels")
    return {"testAccuracy": accuracy, "difference": difference}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("attention", __doc__)
    p.add_argument("--lengths", type=int, nargs="+", help="to measure (default: 128 256 512; smoke: 64 128)")
    p.add_argument("--repetitions", type=int, help="whose median counts (default: 9; smoke: 5)")
    p.add_argument("--threads", type=int, default=1, help="of the CPU, for both (default: %(default)s)")
    p.add_argument("--steps", type=int, default=200, help="of the reader's training (default: %(default)s)")
    p.add_argument("--min-accuracy", type=float, default=0.9, help="exit 1 below it (default: %(default)s)")
    args = p.parse_args(argv)
    args.lengths = args.lengths or ([64, 128] if args.smoke else [128, 256, 512])
    args.repetitions = args.repetitions or (5 if args.smoke else 9)
    return args


def check(args: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Demand that `differences` are rounding errors."""
    found = differences(device, args.seed)
    for name, difference in found.items():
        print(f"{name:16} differs by {difference:.1e}")
    worst = max(found, key=lambda name: found[name])
    # Not `>`, which a NaN would pass.
    if not all(difference <= TOLERANCE for difference in found.values()):
        raise life.Missed(f"{worst} mask: differs from torch by {found[worst]:.1e}, more than {TOLERANCE}")
    return found


def hidden(args: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Demand that nothing comes through a mask: by the gradient of what may look to what it may not see."""
    torch.manual_seed(args.seed)
    x, present = sentences(16, 64, 64, device)
    x.requires_grad_()
    module = MultiHeadAttention(64, 4, attend).to(device)
    (padding,) = torch.autograd.grad(module(x, padding_mask(present))[present].square().sum(), x)
    (causal,) = torch.autograd.grad(module(x, causal_mask(64, device))[:, 31].square().sum(), x)
    found = {
        "padding, hidden": padding[~present].abs().max().item(),
        "padding, seen": padding[present].abs().amax(-1).min().item(),
        "causal, hidden": causal[:, 32:].abs().max().item(),
        "causal, seen": causal[:, :32].abs().amax(-1).min().item(),
    }
    for name, gradient in found.items():
        if (gradient == 0.0) != name.endswith("hidden"):
            raise life.Missed(f"{name} tokens: a gradient of {gradient:.1e} comes through the mask")
    return found


def table(args: argparse.Namespace, device: torch.device, length: int) -> dict[str, dict[str, float]]:
    """Measure lines of so many tokens under each mask, and print it."""
    columns = ("ownForward", "torchForward", "ownBackward", "torchBackward")
    print(f"{length:>4} tokens, ms" + "".join(f"{column:>14}" for column in columns) + "    own / torch")
    rows = {}
    for mask in ("none", "padding", "causal", "both"):
        found = rows[mask] = measure(length, mask, args.repetitions, device)
        ratio = (found["ownForward"] + found["ownBackward"]) / (
            found["torchForward"] + found["torchBackward"]
        )
        print(f"{mask:>15}" + "".join(f"{found[column]:>14.2f}" for column in columns) + f"{ratio:>13.2f} x")
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, measure and train, and write what was found.

    Returns
    -------
    int
        The exit code: 0, 1 if something differs or was not learned, 143 if SIGTERM came first.
    """
    args = parse(argv)
    torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"torch {torch.__version__} on {device}, {torch.get_num_threads()} threads")
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "equal": partial(check, args, device),
        "hidden": partial(hidden, args, device),
        "train": partial(train, args, device),
    }
    for length in args.lengths:
        parts[f"length {length}"] = partial(table, args, device, length)
    return life.do_parts(args, parts)


if __name__ == "__main__":
    sys.exit(main())
