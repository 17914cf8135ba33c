"""``ftjob render``: what the operator would create, without a cluster."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.agent_zipapp import build_zipapp
from ftjob.api.job import Job
from ftjob.cli.exit_codes import INVALID, SUCCEEDED
from ftjob.cli.source import SourceError, read
from ftjob.cli.terminal import one_line, say
from ftjob.local.outputs import to_yaml
from ftjob.models.brought import AgentFile
from ftjob.models.names import KIND
from ftjob.plan.build.bring_agent import build_config_map
from ftjob.plan.build.objects import build_claim, build_secret, build_service
from ftjob.plan.build.pod import build_pod
from ftjob.plan.layout import cluster_layout
from ftjob.plan.plan import Config

if TYPE_CHECKING:
    import argparse

    from ftjob.models.manifest import Manifest

UID = "00000000-0000-0000-0000-000000000000"
"""Stands for the UID that the API server would give."""


def main(args: argparse.Namespace) -> int:
    """Print the objects of each job as YAML."""
    try:
        source = read(args.file, args.namespace)
    except SourceError as error:
        say(str(error))
        return INVALID
    for note in source.notes:
        say(note)
    problems = [line for found in source.jobs for line in found.complaints()]
    if not source.jobs:
        problems.append(one_line(f"{args.file}: no {KIND} in it; write one"))
    if problems:
        say(*problems)
        return INVALID
    jobs = [
        found.job for found in source.jobs if isinstance(found.job, Job)
    ]  # all: nothing is wrong with them
    manifests = [m for job in jobs for m in objects(replace(job, uid=job.uid or UID))]
    sys.stdout.write(to_yaml(*manifests))
    return SUCCEEDED


def objects(job: Job) -> list[Manifest]:
    """Return all objects of a job's first attempt; the agent and the token are left out."""
    config = Config(agent=AgentFile(build_zipapp()))
    agent = build_config_map(job.namespace, config.agent)
    agent["binaryData"] = dict.fromkeys(agent["binaryData"], "<made by the operator>")
    secret = build_secret(job, config)
    secret["stringData"] = dict.fromkeys(secret["stringData"], "<made by the operator>")
    claim = build_claim(job, config)
    layout = cluster_layout(job, 0)
    return [
        agent,
        build_service(job),
        secret,
        *([claim] if claim else []),
        *(build_pod(job, layout, worker, config) for worker in layout.workers),
    ]
