"""``ftjob profile``: a capture now, of a job in the cluster or of a run on this machine."""

from __future__ import annotations

import json
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from ftjob.cli.exit_codes import FAILED, INVALID, PARTIAL, SUCCEEDED
from ftjob.cli.speed.find_job import JOB_LIMIT, KubectlError, kubectl
from ftjob.cli.terminal import one_line, say
from ftjob.models.names import ANNOTATION_CAPTURE, GROUP, PLURAL
from ftjob_protocol import files
from ftjob_protocol.captures.order import CaptureOrder, CapturePhase
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    import argparse

MODE = 0o700
LOOK_SECONDS = 0.5
UNHEARD_SECONDS = 60.0
"""Without any word of the capture for so long, nobody seems to be there who takes orders."""
FINAL = {"Succeeded", "Failed"}


class ProfileError(Exception):
    """There can be no capture; the text says why, and what to do about it."""


class Target(Protocol):
    """Where a capture is asked for."""

    def ask(self, order: CaptureOrder) -> None:
        """Ask for it."""
        ...

    def job(self) -> dict[str, Any]:
        """Return the job as it is now."""
        ...

    @property
    def outputs(self) -> str:
        """What stands before the path of a capture, for people."""
        ...


def main(args: argparse.Namespace) -> int:
    """Ask for a capture; with `--wait` follow it to its end."""
    try:
        order = _order(args)
        target = _target(args)
        _see_that_it_runs(target.job(), args.target)
        target.ask(order)
        print(f"capture {order.id}", flush=True)
        return _follow(target, order.id) if args.wait else SUCCEEDED
    except ProfileError as error:
        say(one_line(str(error)))
        return INVALID


def _see_that_it_runs(job: dict[str, Any], name: str) -> None:
    phase = (job.get("status") or {}).get("phase")
    if phase in FINAL:
        raise ProfileError(f"{name} is {phase}; only ranks that run can be captured")


def _order(args: argparse.Namespace) -> CaptureOrder:
    name = args.id or f"c-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    body = {
        "id": name,
        "steps": args.steps,
        "seconds": args.seconds,
        "ranks": args.ranks,
        "stacks": args.stacks,
    }
    try:
        return CaptureOrder.read(
            {key: value for key, value in body.items() if value is not None and value is not False}
        )
    except ValueError as error:
        raise ProfileError(f"{str(error).replace('capture.', '--')}") from None


def _target(args: argparse.Namespace) -> Target:
    """Return a folder where there is one of that name with a run in it; else a job in the cluster."""
    path = Path(args.target)
    if path.is_dir() and (path / files.JOB).exists():
        return LocalRun(path)
    default = Path("ftjob-outputs") / args.target
    if "/" in args.target or path.is_dir():
        raise ProfileError(f"{path} holds no run: there is no {files.JOB}; name the folder of --outputs")
    if args.namespace is None and (default / files.JOB).exists():
        return LocalRun(default)
    return ClusterJob(args.target, args.namespace)


class LocalRun:
    """A run on this machine, by its outputs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def outputs(self) -> str:
        """The folder of the outputs."""
        return f"{self._path}/"

    def ask(self, order: CaptureOrder) -> None:
        """Write the request in one go; the run looks for it."""
        try:
            with Folder(str(self._path)) as top, top.enter(files.capture(order.id), MODE) as folder:
                if folder.has(files.REQUEST):
                    raise ProfileError(f"--id {order.id}: there is such a capture already; choose another id")
                folder.write(files.REQUEST, json.dumps(order.as_json()).encode())
        except OSError as error:
            raise ProfileError(f"{self._path}: the request can't be written ({error.strerror})") from None

    def job(self) -> dict[str, Any]:
        """Read the job as the run keeps it."""
        try:
            with Folder(str(self._path)) as folder:
                body = yaml.safe_load(folder.read(files.JOB, JOB_LIMIT))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise ProfileError(f"{self._path / files.JOB} can't be read: {error}") from None
        return body if isinstance(body, dict) else {}


class ClusterJob:
    """A job in the cluster, by kubectl, which knows how to get there."""

    outputs = "outputs volume: "

    def __init__(self, name: str, namespace: str | None) -> None:
        self._name = name
        self._where = ["-n", namespace] if namespace is not None else []

    def ask(self, order: CaptureOrder) -> None:
        """Annotate the job."""
        value = f"{ANNOTATION_CAPTURE}={json.dumps(order.as_json())}"
        self._kubectl("annotate", f"{PLURAL}.{GROUP}", self._name, value, "--overwrite")

    def job(self) -> dict[str, Any]:
        """Read the job."""
        found = json.loads(self._kubectl("get", f"{PLURAL}.{GROUP}", self._name, "-o", "json"))
        return found if isinstance(found, dict) else {}

    def _kubectl(self, *words: str) -> str:
        try:
            return kubectl([*words, *self._where])
        except FileNotFoundError:
            raise ProfileError("kubectl is not installed, by which the job is annotated") from None
        except KubectlError as error:
            raise ProfileError(str(error)) from None


def _follow(target: Target, capture: str) -> int:
    """Print each phase; return how it ended."""
    shown, unheard = "", time.monotonic() + UNHEARD_SECONDS
    while True:
        job = target.job()
        status = job.get("status") or {}
        found = _entry(status, capture)
        text = _text(found)
        if text and text != shown:
            shown = text
            say(text, stream=sys.stdout)
        phase = found.get("phase")
        if phase in {word.value for word in CapturePhase if word.is_final}:
            if found.get("path"):
                say(f"{target.outputs}{found['path']}", stream=sys.stdout)
            return {"Ready": SUCCEEDED, "Partial": PARTIAL}.get(str(phase), FAILED)
        if status.get("phase") in FINAL:
            say(f"the job ended ({status['phase']}) before capture {capture} did")
            return FAILED
        if not found and time.monotonic() >= unheard:
            raise ProfileError(
                f"nobody took the order in {UNHEARD_SECONDS:g} s: see that `ftjob run` or the operator runs"
            )
        time.sleep(LOOK_SECONDS)


def _entry(status: dict[str, Any], capture: str) -> dict[str, Any]:
    captures = (status.get("profile") or {}).get("captures") or []
    return next((found for found in captures if found.get("id") == capture), {})


def _text(found: dict[str, Any]) -> str:
    ranks = f" {found['ranks']}" if found.get("ranks") else ""
    reason = f": {found['reason']}" if found.get("reason") else ""
    return f"{found['phase']}{ranks}{reason}" if found else ""
