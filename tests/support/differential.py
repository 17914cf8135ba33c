"""One program under its own launcher and under `ftjob run`, and what differs between the two.

    outcome = same(Program(command=("python", "train.py"), files={"train.py": TRAIN}), tmp_path)

runs ``python train.py`` in one new folder and a job with the same command in another, beside each other, and
fails if exit code, output or files differ. What ftjob adds (status, captures) is in ``outcome``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERRUPTED = 130
"""ftjob's exit code after a signal, documented in docs/cli.md."""


@dataclass(frozen=True)
class Send:
    """A signal to the launcher, once a text has been seen in the program's output so often."""

    number: signal.Signals
    at: str
    times: int = 1


@dataclass(frozen=True)
class Program:
    """A program, its own launcher, and the job that runs it."""

    command: tuple[str, ...]
    """The trainer's command, for each rank."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What lies in the current folder at first, by its path there."""
    bare: tuple[str, ...] = ()
    """The command of the program's own launcher for all ranks; left out: `command`."""
    strategy: str = "Plain"
    workers: int = 1
    processes: int = 1
    trainer: Mapping[str, Any] = field(default_factory=dict)
    """More of the trainer's container: ``env``, ``resources``."""
    template: Mapping[str, Any] = field(default_factory=dict)
    """More of the pod's spec: ``terminationGracePeriodSeconds``."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """More of the job's spec: ``profiling``, ``watchdog``."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of the caller, in both runs."""
    within: tuple[str, ...] = ()
    """What starts the launcher, in both runs."""
    send: Send | None = None
    nohup: bool = False
    """Whether the launcher is started with SIGHUP ignored."""
    own: str = ""
    """The lines of the program, as a regular expression; left out: all. Launchers write lines, too."""
    in_any_order: bool = False
    """Whether its lines come from several processes of one rank, or from both of its streams."""
    left_out: str = "$^"
    """Files that are not compared, as a regular expression of their path."""
    python: str = sys.executable
    """The interpreter of the program; its folder leads PATH, for launchers that are installed there."""
    timeout: float = 200

    @property
    def ranks(self) -> int:
        """The number of ranks of the job."""
        return self.workers * self.processes

    def job(self) -> dict[str, Any]:
        """Return the job that runs the program."""
        trainer = {"name": "trainer", "image": "none", "command": list(self.command), **self.trainer}
        spec: dict[str, Any] = {"strategy": self.strategy, "workers": self.workers}
        if self.processes > 1:
            spec["processesPerWorker"] = self.processes
        pod = {"containers": [trainer], **self.template}
        return {
            "apiVersion": "ftjob.dev/v1alpha1",
            "kind": "FrameworkTrainingJob",
            "metadata": {"name": "job"},
            "spec": spec | {"template": {"spec": pod}} | dict(self.spec),
        }


@dataclass(frozen=True)
class Outcome:
    """What a program did."""

    code: int | None
    """Its exit code, 128 + signal for a signal; None for an interrupted job, which tells no rank's."""
    lines: list[str]
    """Its own lines; those of several ranks are sorted."""
    files: Mapping[str, bytes]
    console: str
    """All that the launcher printed."""
    outputs: Path = Path()
    """The outputs of the job."""
    status: Mapping[str, Any] = field(default_factory=dict)
    """The job's last status."""


def same(program: Program, folder: Path) -> Outcome:
    """Run a program both ways at once, fail if there is a difference, and return what it did under ftjob."""
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(way, program, folder) for way in (bare, ours)]
        theirs, outcome = (run.result() for run in runs)
    found = differences(theirs, outcome)
    assert not found, "\n".join(["ftjob's run differs from the bare one:", *found, outcome.console[-4000:]])
    return outcome


def differences(theirs: Outcome, outcome: Outcome) -> list[str]:
    """Return what differs between the bare run and ftjob's, one text each."""
    found = []
    if outcome.code is not None and outcome.code != theirs.code:
        found.append(f"exit code: {theirs.code} bare, {outcome.code} under ftjob")
    if theirs.lines != outcome.lines:
        alone = [line for line in theirs.lines if line not in outcome.lines]
        added = [line for line in outcome.lines if line not in theirs.lines]
        found.append(
            f"output: {len(theirs.lines)} lines bare, {len(outcome.lines)} under ftjob; "
            f"only bare: {alone[-20:]}; only under ftjob: {added[-20:]}"
        )
    for path in sorted(theirs.files.keys() | outcome.files.keys()):
        one, other = theirs.files.get(path), outcome.files.get(path)
        if one != other:
            found.append(f"file {path}: {_size(one)} bare, {_size(other)} under ftjob")
    return found


def bare(program: Program, folder: Path) -> Outcome:
    """Run a program under its own launcher.

    A signal reaches the first process alone, as from a kubelet. When that has gone, the rest gets SIGTERM.
    """
    work = _folder(program, folder / "bare")
    code, console = _run(program, list(program.bare or program.command), work, end_the_rest=True)
    lines = _own(program, console.replace(str(work), "."))
    return Outcome(code, lines, _files(program, work), console)


def ours(program: Program, folder: Path, *options: str) -> Outcome:
    """Run a program by `ftjob run`."""
    work = _folder(program, folder / "ours")
    job, outputs = work.parent / "job.yaml", work.parent / "out"
    job.write_text(json.dumps(program.job()))
    command = [str(Path(sys.executable).with_name("ftjob")), "run", str(job), "--outputs", str(outputs)]
    code, console = _run(program, [*command, "--python", program.python, *options], work, end_the_rest=False)
    assert code in {0, 1, INTERRUPTED}, f"ftjob ended with {code}:\n{console}"
    logs = "".join(path.read_text() for path in sorted((outputs / "logs").glob("rank-*.log")))
    lines, files = _own(program, logs.replace(str(work), ".")), _files(program, work)
    status = yaml.safe_load((outputs / "job.yaml").read_text())["status"]
    of_ranks = {0: 0, 1: status.get("failure", {}).get("exitCode"), INTERRUPTED: None}[code]
    return Outcome(of_ranks, lines, files, console, outputs, status)


def _folder(program: Program, folder: Path) -> Path:
    work = folder / "work"
    work.mkdir(parents=True)
    for name, text in program.files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    return work


def _run(program: Program, command: list[str], work: Path, *, end_the_rest: bool) -> tuple[int, str]:
    """Return the exit code and the output of a launcher."""
    path = os.pathsep.join([str(Path(program.python).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        [*program.within, *(["nohup"] if program.nohup else []), *command],
        cwd=work,
        env={**os.environ, "PYTHONUNBUFFERED": "", "PATH": path, **program.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    late = threading.Timer(program.timeout, _signal_group, (process, signal.SIGKILL))
    late.start()
    if end_the_rest and program.send is not None:
        threading.Thread(target=_end_with, args=(process,)).start()
    with process:
        assert process.stdout is not None
        console = ""
        for line in process.stdout:
            console += line
            if (
                program.send
                and program.send.at in line
                and console.count(program.send.at) == program.send.times
            ):
                process.send_signal(program.send.number)
    while _is_there(process.pid):  # what has closed its output and goes on
        time.sleep(0.05)
    late.cancel()
    return (128 - process.returncode if process.returncode < 0 else process.returncode), console


def _end_with(process: subprocess.Popen[str]) -> None:
    process.wait()
    _signal_group(process, signal.SIGTERM)


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _own(program: Program, text: str) -> list[str]:
    text = re.sub(r"^\[\d+\]<std(?:out|err)>:", "", text, flags=re.MULTILINE)  # horovodrun's
    lines = [line for line in text.splitlines() if not line.startswith("ftjob: ")]
    lines = [line for line in lines if re.search(program.own, line)]
    return sorted(lines) if program.ranks > 1 or program.in_any_order else lines


def _files(program: Program, work: Path) -> dict[str, bytes]:
    paths = {str(path.relative_to(work)): path for path in work.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in paths.items()
        if "__pycache__" not in name and not re.search(program.left_out, name)
    }


def _size(content: bytes | None) -> str:
    return "absent" if content is None else f"{len(content)} bytes"
