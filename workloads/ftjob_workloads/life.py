"""What every example program does around its training: options, SIGTERM, progress, results.

Nothing here knows a framework, and nothing needs ftjob: without its variables, files go to ``outputs/``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType

    import numpy as np

STOPPED = 128 + signal.SIGTERM
"""Exit code after SIGTERM: the job is not done, start it again."""


class StopSignal:
    """Remembers SIGTERM; it may arrive in the middle of a step, at another step on each rank."""

    def __init__(self) -> None:
        self.seen = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.seen = True


def parser(prog: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all programs share.

    Parameters
    ----------
    prog
        The module's name.
    doc
        Its docstring, whose first line becomes the description.
    """
    outputs = Path(os.environ.get("FTJOB_OUTPUTS", "outputs"))
    p = argparse.ArgumentParser(prog=prog, description=(doc or "").partition("\n")[0])
    p.add_argument("--smoke", action="store_true", help="a size that takes less than a minute on two cores")
    p.add_argument("--seed", type=int, default=1, help="of weights and sample order (default: %(default)s)")
    p.add_argument(
        "--checkpoint-dir",
        type=Path,
        default=os.environ.get("FTJOB_CHECKPOINT_DIR", outputs / "checkpoints"),
        help="default: $FTJOB_CHECKPOINT_DIR",
    )
    p.add_argument(
        "--results-dir", type=Path, default=outputs / "results", help="default: $FTJOB_OUTPUTS/results"
    )
    return p


def expect(steps: int) -> None:
    """Tell ftjob how many steps there will be; how many are done it finds at the optimizer by itself."""
    _tell({"totalSteps": steps})


def report(step: int, steps: int, metrics: Mapping[str, float] | None = None) -> None:
    """Tell ftjob how far we are."""
    _tell({"step": step, "totalSteps": steps, "metrics": dict(metrics or {})})


def _tell(what: Mapping[str, Any]) -> None:
    file = os.environ.get("FTJOB_PROGRESS_FILE")
    if file:
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(what) + "\n")


class Course:
    """The steps of a training that several ranks do together: their losses, and what is said of them.

    Parameters
    ----------
    args
        With ``steps``, how many there are, and ``checkpoint_every``: steps from checkpoint to checkpoint.
    rank
        Of this process: the first one speaks for all.
    who
        What the program calls a process.
    """

    def __init__(self, args: argparse.Namespace, rank: int, who: str = "rank") -> None:
        self.steps: int = args.steps
        self.checkpoint_every: int = args.checkpoint_every
        self.rank = rank
        self.who = who
        self.losses: list[float] = []
        expect(self.steps)

    def save_is_due(self, done: int, stopped: bool) -> bool:
        """Whether a checkpoint is to be written after step ``done``."""
        return stopped or done % self.checkpoint_every == 0 or done == self.steps

    def note(self, done: int, loss: float, stopped: bool) -> None:
        """Keep the loss of step ``done``, and say now and then how far the training is."""
        self.losses.append(loss)
        if self.rank == 0 and (stopped or done % 20 == 0):
            print(f"step {done} loss {loss:.4f}")
            report(done, self.steps, {"loss": loss})
        if stopped:
            print(f"{self.who} {self.rank} stopped at step {done}")


def node() -> str:
    """Return the name of the machine that this process runs on: in a pod, its node's."""
    return os.environ.get("FTJOB_NODE_NAME") or socket.gethostname()


def checksum(arrays: Iterable[np.ndarray[Any, Any]]) -> str:
    """Fingerprint of weights, equal only if every bit is."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file under another name, then put it in place: a kill half-way leaves the old one.

    Call it on one rank only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"new-{path.name}")
    write(fresh)
    fresh.replace(path)


def replace_text(path: Path, text: str) -> None:
    """Put a text into a file, all of it or nothing."""
    replace(path, lambda fresh: fresh.write_text(text, encoding="utf-8"))


class Missed(Exception):  # noqa: N818  # the message is what matters
    """A stated bar was missed; the message says which, and by how much."""


def require(holds: bool, message: str) -> None:
    """Raise `Missed` with the message unless it holds."""
    if not holds:
        raise Missed(message)


def at_most(what: str, value: float, bar: float) -> None:
    """Print a measured error; raise `Missed` if it is above the bar, or not a number."""
    print(f"{what}: {value:.1e}")
    require(value <= bar, f"{what}: {value:.1e} is above {bar:.1e}")


def refuses(error: type[Exception], call: Callable[[], object], what: str) -> None:
    """Raise `Missed` unless the call raises the error."""
    try:
        call()
    except error:
        return
    raise Missed(f"{what} should raise {error.__name__}")


def judge(accuracy: float, least: float, who: str = "") -> int:
    """Hold the test accuracy against ``--min-accuracy``.

    Parameters
    ----------
    who
        The process that says so, where several do.

    Returns
    -------
    int
        The exit code: 0, 1 if the accuracy is too low.
    """
    if accuracy >= least:
        return 0
    says = f"{who}: " if who else ""
    print(f"{says}test accuracy {accuracy:.4f} is below --min-accuracy {least}", file=sys.stderr)
    return 1


def do_parts(
    args: argparse.Namespace, parts: Mapping[str, Callable[[], Mapping[str, Any]]], rank: int = 0
) -> int:
    """Do one part of a program after the other, and write the result; SIGTERM is heeded between two parts.

    This is the life of a program that checks and measures instead of training. What is finished is kept in
    the checkpoint folder; the next start does only the rest, if its options are the same.

    Parameters
    ----------
    args
        What `parser` has read; all but the folders goes into the result.
    parts
        What to do, by name, in this order. A part returns what it has found, as JSON, or raises `Missed`.
    rank
        Of this process; each has its own files.

    Returns
    -------
    int
        The exit code: 0, 1 if a part raised `Missed`, 143 if SIGTERM came first.
    """
    stop = StopSignal()
    options = {key: value for key, value in vars(args).items() if not isinstance(value, Path)}
    file = args.checkpoint_dir / f"parts-rank-{rank:05d}.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    done: dict[str, Any] = kept["parts"] if kept.get("options") == options else {}
    resumed = list(done)
    for name, part in parts.items():
        if name in done:
            print(f"{name}: done before")
            continue
        try:
            done[name] = dict(part())
        except Missed as missed:
            print(f"{name}: {missed}", file=sys.stderr)
            return 1
        replace_text(file, json.dumps({"options": options, "parts": done}, indent=1))
        report(len(done), len(parts))
        if stop.seen:
            print(f"stopped after {name}, {len(done)} of {len(parts)} parts are done")
            return STOPPED
    write_result(args.results_dir, {"options": options, "resumed": resumed, **done}, rank)
    return 0


def write_result(folder: Path, result: Mapping[str, Any], rank: int = 0) -> Path:
    """Write what a rank has found as JSON.

    Returns
    -------
    Path
        ``result-rank-00000.json`` in the folder.
    """
    path = folder / f"result-rank-{rank:05d}.json"
    replace_text(path, json.dumps(result, indent=1) + "\n")
    return path
