"""The whole job, from what its ranks have left over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.insight.collect.job import body_of, job_of
from ftjob.insight.summary import SCHEMA, VERSION, Summary, Verdict, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftjob_protocol.files.nofollow import Folder


def whole_job(outputs: Folder, captures: Sequence[Summary]) -> Summary:
    """Return the summary of a job: of its vitals, else of its last capture."""
    if captures:
        return captures[-1]
    body = body_of(outputs)
    return Summary(
        schema=SCHEMA,  # type: ignore[arg-type]  # the one literal
        version=VERSION,  # type: ignore[arg-type]
        job=job_of(body).named(""),
        capture=None,
        window=Window(steps=[], blocks=0, excluded={}),
        step_ms=None,
        ranks=[],
        collectives=[],
        findings=[],
        verdict=Verdict(
            text="nothing was measured: there are no vitals and no captures in these outputs",
            findings=[],
            seen={"input": False, "collectives": False},
        ),
    )
