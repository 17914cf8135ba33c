"""Profile models and measure what optimizing their graphs gains, in torch and TensorFlow.

What it shows:

* ``torch.profiler`` and ``tf.profiler`` over a few marked steps of training, written where ftjob's collector,
  TensorBoard and Perfetto find them (`capture_files`), beside samples of processor, memory and GPUs;
* the same step of training before and after: ``torch.compile``; and in TensorFlow eager mode, a graph, the
  graph optimized by Grappler, and by XLA. Variants take turns, so that whatever else the machine does hits
  all of them, and the median counts;
* that optimization changed nothing but the time: the losses of all variants agree within 0.1 % after several
  steps of training, or the program fails.

    python -m ftjob_workloads.analyse --model digits-torch digits-keras
"""

from __future__ import annotations

import importlib
import math
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftjob_workloads import life
from ftjob_workloads.capture_files import Place, Samples

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

TORCH, TENSORFLOW = "ftjob_workloads.analyse_torch", "ftjob_workloads.analyse_tensorflow"
MODELS = {
    # torch's first: imported after TensorFlow, its copy of LLVM would clash with the other.
    "digits-torch": (TORCH, "digits_cnn"),
    "attention": (TORCH, "attention"),
    "vision-torch": (TORCH, "vision"),
    "bert": (TORCH, "bert"),
    "transformer": (TORCH, "transformer"),
    "digits-keras": (TENSORFLOW, "digits_cnn"),
    "vision-keras": (TENSORFLOW, "vision"),
}
"""Where each model comes from: a module with `seed`, `capture`, `variants` and `proof`, and its function."""

STEPS_COMPARED = 5
TOLERANCE = 1e-3
"""Largest relative difference of two variants' losses that is rounding, after so many steps."""
BLOCK = 5
"""Calls in a row of one variant; the first of them pays for the change and does not count."""


class Analysis:
    """The two parts of the analysis of one model."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self.name = name
        self.args = args
        module, self.function = MODELS[name]
        self.tools: Any = importlib.import_module(module)

    def subject(self) -> Any:
        """Build the model and its batch."""
        self.tools.seed(self.args.seed)
        return getattr(self.tools, self.function)(self.args.batch_size)

    def capture(self, place: Place) -> dict[str, Any]:
        """Profile some steps."""
        subject = self.subject()
        folder = place.begin(self.name, self.args.steps)
        top = self.tools.capture(subject, folder, place.worker, self.args.steps)
        files = place.publish(self.name, 1, self.args.steps)
        print(f"{self.name}: steps 1 to {self.args.steps} in captures/{self.name}")
        for operator in top:
            print(f"  {operator['ms']:8.3f} ms a step in {operator['name']}, {operator['calls']:g} calls")
        return {"id": self.name, "files": files, "top": top}

    def optimize(self) -> dict[str, Any]:
        """Compare the variants of a step.

        Raises
        ------
        life.Missed
            One of them learns something else than the others.
        """
        subject = self.subject()
        variants, left_out = self.tools.variants(subject)
        first_call, losses = {}, {}
        for variant, step in variants.items():
            begin = time.perf_counter()
            losses[variant] = [step()]
            first_call[variant] = time.perf_counter() - begin
            losses[variant] += [step() for _ in range(STEPS_COMPARED - 1)]
        *_, reference = next(iter(losses.values()))
        for variant, (*_, loss) in losses.items():
            life.require(
                math.isclose(loss, reference, rel_tol=TOLERANCE),
                f"{self.name}: after {STEPS_COMPARED} steps the loss of {variant} is {loss:.6f}, "
                f"not {reference:.6f} as before",
            )
        milliseconds = medians(variants, self.args.repetitions)
        before = next(iter(milliseconds.values()))
        print(f"{self.name:20} ms a step     gain   first call, s")
        for variant, after in milliseconds.items():
            print(f"  {variant:18} {after:9.3f} {before / after:7.2f}x {first_call[variant]:10.2f}")
        for variant, why in left_out.items():
            print(f"  {variant} is left out: {why}", file=sys.stderr)
        return {
            "milliseconds": milliseconds,
            "firstCallSeconds": first_call,
            "losses": losses,
            "leftOut": left_out,
            "proof": self.tools.proof(subject),
        }


def medians(variants: dict[str, Callable[[], float]], repetitions: int) -> dict[str, float]:
    """Return the median milliseconds of a call of each, measured in turns."""
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    while min(map(len, times.values())) < repetitions:
        for variant, step in variants.items():
            step()
            for _ in range(BLOCK - 1):
                begin = time.perf_counter()
                step()
                times[variant].append(1000 * (time.perf_counter() - begin))
    return {variant: statistics.median(found) for variant, found in times.items()}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("analyse", __doc__)
    p.add_argument(
        "--model",
        nargs="+",
        choices=list(MODELS),
        default=["digits-torch", "digits-keras"],
        help="one or more of %(choices)s (default: digits-torch digits-keras)",
    )
    p.add_argument("--batch-size", type=int, default=64, help="samples a step (default: %(default)s)")
    p.add_argument("--steps", type=int, default=5, help="to profile (default: %(default)s)")
    p.add_argument("--repetitions", type=int, help="whose median counts (default: 100; smoke: 20)")
    p.add_argument(
        "--outputs",
        type=Path,
        default=os.environ.get("FTJOB_OUTPUTS", "outputs"),
        help="for captures and samples (default: $FTJOB_OUTPUTS)",
    )
    args = p.parse_args(argv)
    args.repetitions = args.repetitions or (20 if args.smoke else 100)
    args.model = [name for name in MODELS if name in args.model]
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Profile and measure every model, and write what was found.

    Returns
    -------
    int
        The exit code: 0, 1 if optimization changed what is learned, 143 if SIGTERM came first.
    """
    args = parse(argv)
    place = Place(args.outputs, int(os.environ.get("FTJOB_RANK", "0")))
    parts: dict[str, Callable[[], dict[str, Any]]] = {}
    with Samples(place) as samples:
        for name in args.model:
            analysis = Analysis(name, args)
            parts[f"{name} capture"] = partial(analysis.capture, place)
            parts[f"{name} optimize"] = analysis.optimize
        parts["samples"] = lambda: {"taken": samples.taken, "peakBytes": samples.peak_bytes}
        return life.do_parts(args, parts, place.rank)


if __name__ == "__main__":
    sys.exit(main())
