"""Whether a job can run, and what to write instead where it can't. Pure; for the operator and the CLI."""

from __future__ import annotations

import re

from ftjob.api.job import AnyJob, Job
from ftjob.api.problem import Problem
from ftjob.api.rules.combinations import COMBINATIONS
from ftjob.api.rules.launchers import LAUNCHER_RULES
from ftjob.api.rules.rule import Rule
from ftjob.api.rules.scheduling import SCHEDULING_RULES
from ftjob.api.rules.template import TEMPLATE_RULES
from ftjob.api.rules.tpu import TPU_RULES
from ftjob.models.names import JOB_NAME_MAX

RULES: tuple[Rule, ...] = (
    *COMBINATIONS,
    *LAUNCHER_RULES,
    *TPU_RULES,
    *SCHEDULING_RULES,
    *TEMPLATE_RULES,
)
"""Every rule about a spec."""

NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_PROBLEM = Problem(
    field="metadata.name",
    message="the name is a part of host names and of pods' names",
    remedy=f"use at most {JOB_NAME_MAX} of the characters a-z, 0-9 and -, beginning with a letter and ending "
    "with a letter or digit",
)


def validate(job: AnyJob) -> tuple[Problem, ...]:
    """Return everything that keeps a job from running; nothing if it can run.

    Parameters
    ----------
    job
        The job as ``parse_job`` has read it.
    """
    problems = list(job.problems)
    if len(job.name) > JOB_NAME_MAX or not re.fullmatch(NAME_PATTERN, job.name):
        problems.append(NAME_PROBLEM)
    if isinstance(job, Job):
        problems += [problem for rule in RULES if (problem := rule.problem(job.spec)) is not None]
    return tuple(problems)
