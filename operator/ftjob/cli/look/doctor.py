"""``ftjob doctor``: whether a cluster is fit for jobs, and what to do where it is not."""

from __future__ import annotations

import json
import secrets
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ftjob.cli.exit_codes import FAILED, SUCCEEDED
from ftjob.cli.jobs.common import client, exit_code
from ftjob.cli.look.answer import says
from ftjob.cli.look.causes import likeliest
from ftjob.cli.look.checks import Check, Level, judge
from ftjob.cli.look.read import look_at
from ftjob.cli.look.survey import survey
from ftjob.cli.terminal import say
from ftjob.client import ClusterError, JobFailed, JobInvalid
from ftjob.client.cluster import connect

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from ftjob.client import JobHandle

RUN_SECONDS = 300.0
_HELLO = "import os; print('hello from rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'])"


def main(args: argparse.Namespace) -> int:
    """Print what was looked at; 1 if there is a problem."""

    def verb() -> int:
        seen = survey(connect(args.namespace, args.context, args.kubeconfig))
        checks = judge(seen)
        if args.run:
            checks.append(_run(args))
        if args.output == "json":
            told = [each.__dict__ | {"level": each.level.value} for each in checks]
            print(json.dumps({"checks": told, "notRead": list(seen.unread)}, indent=2))
        else:
            say(*_lines(checks, seen.unread), stream=sys.stdout)
        return FAILED if any(each.level is Level.PROBLEM for each in checks) else SUCCEEDED

    return exit_code(verb)


def _lines(checks: Sequence[Check], unread: Sequence[str]) -> Iterator[str]:
    for each in checks:
        yield f"{each.level:<7}   {each.subject:<8}   {each.text}"
        if each.remedy:
            yield f"{'':<7}   {'':<8}   {each.remedy}"
    yield from (f"not read: {text}" for text in unread)


def _run(args: argparse.Namespace) -> Check:
    """Run a job of two workers to its end, and delete it."""
    name = f"doctor-{secrets.token_hex(2)}"
    try:
        job = client(args).submit(_hello(name, args.image))
    except (ClusterError, JobInvalid) as error:
        return Check(Level.PROBLEM, "run", f"job {name} can't be created: {error}")
    try:
        return _ended(job)
    finally:
        with suppress(ClusterError):
            job.delete()


def _ended(job: JobHandle) -> Check:
    try:
        job.wait(timeout=RUN_SECONDS)
    except (JobFailed, TimeoutError):
        seen = look_at(job)
        cause = likeliest(seen)
        text = says(job.name, seen.status, cause)
        return Check(Level.PROBLEM, "run", text, cause.remedy if cause is not None else "")
    return Check(Level.OK, "run", f"job {job.name} of two workers has succeeded, and was deleted")


def _hello(name: str, image: str) -> dict[str, Any]:
    trainer = {
        "name": "trainer",
        "image": image,
        "command": ["python3", "-c", _HELLO],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    safe = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"securityContext": safe, "containers": [trainer]}
    spec = {"strategy": "Torchrun", "workers": 2, "processesPerWorker": 1, "template": {"spec": pod}}
    return {"metadata": {"name": name}, "spec": spec}
