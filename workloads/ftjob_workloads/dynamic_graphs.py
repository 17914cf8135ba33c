"""Dynamic graphs in torch: Python decides what is computed, and autograd follows.

What it shows:

* control flow by data: a loop that runs until its result is exact, a branch, and a network that thinks about
  each image for as long as it is unsure; the graph of each is as large as what was done;
* an `autograd.Function` of our own that keeps less for the backward pass than torch would, and one whose
  gradient is not the derivative on purpose; `gradcheck` and `gradgradcheck` compare them with finite
  differences in double precision, and are made to refuse the second, and a wrong one;
* hooks: on a tensor, on a module forward and backward, after a gradient was accumulated, and on what is
  saved for the backward pass; each is compared with what it must see or change.

The checks are in `ftjob_workloads.autograd_checks`, the network is in `ftjob_workloads.thinker`; here it
learns to read handwritten digits. It reaches a test accuracy of 0.967, and 0.90 is demanded; most images take
two rounds, and of the few that take five or six it gets half wrong.

    python -m ftjob_workloads.dynamic_graphs
"""

from __future__ import annotations

# torch leaves `backward()` and its like without types.
# mypy: allow-untyped-calls
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from ftjob_workloads import digits, life
from ftjob_workloads.autograd_checks import gradients, graph_nodes, hooks
from ftjob_workloads.thinker import Thinker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path


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
