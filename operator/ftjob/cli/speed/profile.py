"""``ftjob profile``: a capture now, of a job in the cluster or of a run on this machine."""

from __future__ import annotations

import json
import secrets
import sys
import time
from typing import TYPE_CHECKING

from ftjob.cli.exit_codes import FAILED, INVALID, PARTIAL, SUCCEEDED
from ftjob.cli.speed.find_job import FoundJob, KubectlError, NoJobError, find_job, kubectl
from ftjob.cli.terminal import one_line, say
from ftjob.models.names import ANNOTATION_CAPTURE, GROUP, PLURAL
from ftjob_protocol import files
from ftjob_protocol.captures.order import CaptureOrder, CapturePhase
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from ftjob.models.status import Capture

MODE = 0o700
LOOK_SECONDS = 0.5
UNHEARD_SECONDS = 60.0
"""Without any word of the capture for so long, nobody seems to be there who takes orders."""


class ProfileError(Exception):
    """There can be no capture; the text says why, and what to do about it."""


def main(args: argparse.Namespace) -> int:
    """Ask for a capture; with `--wait` follow it to its end."""
    try:
        order, found = _order(args), _find(args)
        _see_that_it_runs(found)
        if found.outputs is not None:
            _request(found.outputs, order)
        else:
            _annotate(found.name, args.namespace, order)
        print(f"capture {order.id}", flush=True)
        return _follow(args, order.id) if args.wait else SUCCEEDED
    except ProfileError as error:
        say(one_line(str(error)))
        return INVALID


def _find(args: argparse.Namespace) -> FoundJob:
    try:
        return find_job(args.target, args.namespace)
    except NoJobError as error:
        raise ProfileError(str(error)) from None


def _see_that_it_runs(found: FoundJob) -> None:
    phase = found.status.phase
    if phase is not None and phase.is_final:
        raise ProfileError(f"{found.name} is {phase}; only ranks that run can be captured")


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


def _request(outputs: Path, order: CaptureOrder) -> None:
    """Write the request in one go; the run on this machine looks for it."""
    try:
        with Folder(str(outputs)) as top, top.enter(files.capture(order.id), MODE) as folder:
            if folder.has(files.REQUEST):
                raise ProfileError(f"--id {order.id}: there is such a capture already; choose another id")
            folder.write(files.REQUEST, json.dumps(order.as_json()).encode())
    except OSError as error:
        raise ProfileError(f"{outputs}: the request can't be written ({error.strerror})") from None


def _annotate(name: str, namespace: str | None, order: CaptureOrder) -> None:
    """Annotate the job in the cluster, by kubectl, which knows how to get there."""
    value = f"{ANNOTATION_CAPTURE}={json.dumps(order.as_json())}"
    where = ["-n", namespace] if namespace is not None else []
    try:
        kubectl(["annotate", f"{PLURAL}.{GROUP}", name, value, "--overwrite", *where])
    except KubectlError as error:
        raise ProfileError(str(error)) from None


def _follow(args: argparse.Namespace, capture: str) -> int:
    """Print each phase; return how it ended."""
    shown, unheard = "", time.monotonic() + UNHEARD_SECONDS
    while True:
        job = _find(args)
        captures = job.status.profile.captures if job.status.profile is not None else []
        found = next((each for each in captures if each.id == capture), None)
        text = _text(found) if found is not None else ""
        if text and text != shown:
            shown = text
            say(text, stream=sys.stdout)
        if found is not None and found.phase in {word.value for word in CapturePhase if word.is_final}:
            if found.path:
                where = f"{job.outputs}/" if job.outputs is not None else "outputs volume: "
                say(f"{where}{found.path}", stream=sys.stdout)
            return {"Ready": SUCCEEDED, "Partial": PARTIAL}.get(found.phase, FAILED)
        if job.status.phase is not None and job.status.phase.is_final:
            say(f"the job ended ({job.status.phase}) before capture {capture} did")
            return FAILED
        if found is None and time.monotonic() >= unheard:
            raise ProfileError(
                f"nobody took the order in {UNHEARD_SECONDS:g} s: see that `ftjob run` or the operator runs"
            )
        time.sleep(LOOK_SECONDS)


def _text(found: Capture) -> str:
    ranks = f" {found.ranks}" if found.ranks else ""
    reason = f": {found.reason}" if found.reason else ""
    return f"{found.phase}{ranks}{reason}"
