"""What is behind a failure, for its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.deaths.explain import explain

if TYPE_CHECKING:
    from ftjob.models.status import Failure


def explained(failure: Failure | None) -> Failure | None:
    """Return a failure with its hint, if it is a known way to die. Its own words stay as they are."""
    if failure is None:
        return None
    hint = explain(
        reason=failure.reason,
        exit_code=failure.exit_code,
        message=failure.message,
        log_tail=failure.log_tail or "",
    )
    return failure.model_copy(update={"hint": hint}) if hint is not None else failure
