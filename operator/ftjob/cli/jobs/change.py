"""``ftjob stop``, ``resume`` and ``delete``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ftjob.api.job import Job, parse_job
from ftjob.cli.exit_codes import INVALID, SUCCEEDED
from ftjob.cli.jobs.common import chosen, client, exit_code, is_terminal
from ftjob.cli.terminal import one_line, say
from ftjob.models.spec import WhenDeleted
from ftjob.plan.build.outputs import outputs_claim

if TYPE_CHECKING:
    import argparse

    from ftjob.client import JobHandle


def main(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    return exit_code(lambda: {"stop": _stop, "resume": _resume, "delete": _delete}[args.command](args))


def _stop(args: argparse.Namespace) -> int:
    job = chosen(args)
    if _has_ended(job):
        return SUCCEEDED
    job.stop()
    say(
        one_line(
            f"{job.name} is being stopped: its pods end within their grace period. {_kept(job)}; "
            f"`ftjob resume {job.name}` goes on"
        )
    )
    return SUCCEEDED


def _resume(args: argparse.Namespace) -> int:
    job = chosen(args)
    if _has_ended(job):
        return SUCCEEDED
    job.resume()
    say(one_line(f"{job.name} goes on; `ftjob logs {job.name}` follows it"))
    return SUCCEEDED


def _delete(args: argparse.Namespace) -> int:
    cluster = client(args)
    jobs = [cluster.get(name) for name in dict.fromkeys(args.jobs)] or [chosen(args)]
    names = ", ".join(job.name for job in jobs)
    if not args.yes:
        if not is_terminal():
            say(
                one_line(f"nobody is there to be asked: `ftjob delete -y {names}` deletes without a question")
            )
            return INVALID
        say(one_line(f"delete {names} with all pods?"))
        if input("[y/N] ").strip().lower() not in {"y", "yes"}:
            say("nothing was deleted")
            return SUCCEEDED
    for job in jobs:
        job.delete()
        say(one_line(f"{job.name} was deleted. {_kept(job, is_deleted=True)}"), stream=sys.stdout)
    return SUCCEEDED


def _has_ended(job: JobHandle) -> bool:
    phase = job.status.phase
    if phase is not None and phase.is_final:
        say(one_line(f"{job.name} has {phase.lower()} already; `ftjob rerun {job.name}` runs it again"))
        return True
    return False


def _kept(job: JobHandle, *, is_deleted: bool = False) -> str:
    """Return what of a job stays when its pods go."""
    known = parse_job(job.body)
    outputs = known.spec.outputs if isinstance(known, Job) else None
    if not isinstance(known, Job) or outputs is None:
        return "It has no outputs: what its ranks wrote into their pods is lost"
    claim = outputs_claim(known)
    if is_deleted and outputs.claim_name is None and outputs.when_deleted is WhenDeleted.DELETE:
        return f"Its outputs go with the claim {claim}, since spec.outputs.whenDeleted is Delete"
    return f"Its outputs stay in the claim {claim}"
