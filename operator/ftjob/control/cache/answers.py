"""Answers to look-ups: objects that are not watched, read when a decision asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.plan.observed.state import Answer, Lookup


class Answers:
    """Each answer for as long as it holds.

    Parameters
    ----------
    clock
        Unix time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: dict[Lookup, tuple[float, Answer]] = {}

    def add(self, lookup: Lookup, answer: Answer) -> None:
        """Remember an answer, and forget those that hold no more."""
        now = self._clock()
        self._answers = {key: found for key, found in self._answers.items() if found[0] > now}
        self._answers[lookup] = (now + lookup.holds_seconds, answer)

    def forget(self, lookup: Lookup) -> None:
        """Forget an answer: the object has changed."""
        self._answers.pop(lookup, None)

    def of(self, namespace: str) -> dict[Lookup, Answer]:
        """Return the answers that hold, about a namespace and about objects that have none."""
        now = self._clock()
        return {
            lookup: answer
            for lookup, (until, answer) in self._answers.items()
            if until > now and lookup.namespace in {"", namespace}
        }
