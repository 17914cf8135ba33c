"""What is wrong with a job beyond the type of a field. Each rule stands here once, with its text.

A rule is checked in two places: by the API server, where CEL can say it, so that ``kubectl apply`` itself
refuses a bad job; and by ``ftjob.api.validate``, for the operator and for jobs that never meet an API server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ftjob.api.problem import Problem
from ftjob.models.spec import JobSpec

Schema = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """One thing that a job may not say.

    Parameters
    ----------
    field
        Path of the field to blame, from the root of the object.
    message, remedy
        What is wrong and what to write instead.
    broken
        Whether a spec breaks the rule.
    at
        Path of the object that CEL calls ``self``. A rule deep in the object is not checked again
        when only another part of the object changes.
    cel
        True where the rule holds. None: CEL can't see it.
    required
        The field is missing, rather than wrong.
    precisely
        The message for a spec that breaks the rule, where it can say more than CEL's: names, say.
    """

    field: str
    message: str
    remedy: str
    broken: Callable[[JobSpec], bool]
    at: str = "spec"
    cel: str | None = None
    required: bool = False
    precisely: Callable[[JobSpec], str] | None = None

    def problem(self, spec: JobSpec) -> Problem | None:
        """Return the problem if the spec breaks this rule."""
        if not self.broken(spec):
            return None
        message = self.message if self.precisely is None else self.precisely(spec)
        return Problem(self.field, message, self.remedy)

    def to_cel(self) -> Schema:
        """Return the entry of ``x-kubernetes-validations``."""
        assert self.cel is not None, self.field
        return cel_entry(
            self.cel,
            f"{self.message}; {self.remedy}",
            path=self.field.removeprefix(self.at),
            reason="FieldValueRequired" if self.required else "FieldValueForbidden",
        )


def cel_entry(rule: str, text: str, *, path: str, reason: str) -> Schema:
    """Return one entry of ``x-kubernetes-validations``.

    Parameters
    ----------
    rule
        The CEL expression that holds for a good object.
    text
        What to tell the user: what is wrong and what to write instead.
    path
        The field to blame, below the object that holds the rule; "" for that object itself.
    reason
        One of Kubernetes' four; Forbidden and Required print no value, which would be a useless "object".
    """
    entry: Schema = {"rule": rule, "message": text}
    if path:
        entry["fieldPath"] = path
    entry["reason"] = reason
    return entry
