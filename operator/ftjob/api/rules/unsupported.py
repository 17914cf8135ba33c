"""What the contract holds and this version does not do yet: refused, never ignored.

A field leaves this table in the change that makes it work.
"""

from __future__ import annotations

from collections.abc import Callable

from ftjob.api.rules.rule import Rule
from ftjob.models.spec import JobSpec, Tool


def _not_yet(
    field: str, what: str, remedy: str, *, cel: str, broken: Callable[[JobSpec], bool], at: str = "spec"
) -> Rule:
    return Rule(
        at=at,
        field=field,
        message=f"this version of ftjob does not support {what} yet",
        remedy=remedy,
        cel=cel,
        broken=broken,
    )


UNSUPPORTED: tuple[Rule, ...] = (
    _not_yet(
        "spec.profiling.tools",
        "the tool Stacks",
        "set profiling.tools to Framework, System or both",
        at="spec.profiling",
        cel="!has(self.tools) || !self.tools.exists(tool, tool == 'Stacks')",
        broken=lambda spec: Tool.STACKS in spec.profiling.tools,
    ),
    _not_yet(
        "spec.profiling.budget",
        "a budget for captures",
        "remove profiling.budget; lower profiling.schedule.repeat to keep less",
        at="spec.profiling",
        cel="!has(self.budget)",
        broken=lambda spec: spec.profiling.budget is not None,
    ),
)
