"""``ftjob profile``: a capture now, of a job in the cluster or of a run on this machine."""

from __future__ import annotations

import json
import secrets
import sys
import time
from typing import TYPE_CHECKING

from ftjob.cli.exit_codes import FAILED, PARTIAL, SUCCEEDED
from ftjob.cli.jobs.common import exit_code
from ftjob.cli.speed.find_job import find_job
from ftjob.cli.terminal import say
from ftjob.client import JobInvalid
from ftjob_protocol import files
from ftjob_protocol.captures.order import CaptureOrder, CapturePhase
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from ftjob.cli.speed.find_job import FoundJob
    from ftjob.models.status import Capture

MODE = 0o700
LOOK_SECONDS = 0.5
UNHEARD_SECONDS = 60.0
"""Without any word of the capture for so long, nobody seems to be there who takes orders."""


class ProfileError(JobInvalid):
    """There can be no capture; the text says why, and what to do about it."""


def main(args: argparse.Namespace) -> int:
    """Ask for a capture; with `--wait` follow it to its end."""
    return exit_code(lambda: _profile(args))


def _profile(args: argparse.Namespace) -> int:
    order, found = _order(args), find_job(args)
    _see_that_it_runs(found)
    if found.handle is not None:
        found.handle.capture(order.as_json())
    elif found.outputs is not None:
        _request(found.outputs, order)
    print(f"capture {order.id}", flush=True)
    return _follow(found, order.id) if args.wait else SUCCEEDED


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


def _follow(job: FoundJob, capture: str) -> int:
    """Print each phase; return how it ended."""
    shown, unheard = "", time.monotonic() + UNHEARD_SECONDS
    while True:
        job = job.again()
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
            raise TimeoutError(
                f"nobody took the order in {UNHEARD_SECONDS:g} s: see that `ftjob run` or the operator runs"
            )
        time.sleep(LOOK_SECONDS)


def _text(found: Capture) -> str:
    ranks = f" {found.ranks}" if found.ranks else ""
    reason = f": {found.reason}" if found.reason else ""
    return f"{found.phase}{ranks}{reason}"
