"""An answer that several tabs ask for again and again: sought once at a time, and nobody waits long."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

FRESH_SECONDS = 1.5
SLOWER = 4.0
"""An answer that took long is asked for again after so many times as long."""
FIRST_SECONDS, NEXT_SECONDS = 5.0, 0.5
"""So long the first answer, and a newer one, is waited for: a browser has few connections."""
MOST = 64

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """The last answer that there was, and what has kept a newer one away."""

    value: T | None = None
    error: str = ""
    time: float = 0.0
    """Unix time of the answer."""


class Kept(Generic[T]):
    """The answer to one question.

    Parameters
    ----------
    ask
        Asks for it; may raise anything.
    """

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._is_asked = False
        self._done = threading.Event()
        self._not_before = 0.0
        self._answer: Answer[T] = Answer()

    def get(self) -> Answer[T]:
        """Return the answer as far as it is there."""
        with self._lock:
            if not self._is_asked and time.monotonic() >= self._not_before:
                self._is_asked = True
                self._done.clear()
                threading.Thread(target=self._renew, name="ftjob-ui-ask", daemon=True).start()
            is_first = not self._answer.time and not self._answer.error
        self._done.wait(FIRST_SECONDS if is_first else NEXT_SECONDS)
        return self._answer

    def _renew(self) -> None:
        began = time.monotonic()
        try:
            answer = Answer(self._ask(), "", time.time())
        except Exception as error:  # noqa: BLE001  told where the answer is shown
            text = str(error) or type(error).__name__
            answer = Answer(self._answer.value, text, self._answer.time)
        took = time.monotonic() - began
        with self._lock:
            self._answer = answer
            self._not_before = time.monotonic() + max(FRESH_SECONDS, SLOWER * took)
            self._is_asked = False
            self._done.set()


class Shelf:
    """Answers to many questions; those that nobody has asked for longest go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Kept[object]] = OrderedDict()

    def get(self, key: Hashable, ask: Callable[[], object]) -> Answer[object]:
        """Return the answer to a question."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                found = self._kept[key] = Kept(ask)
            self._kept.move_to_end(key)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return found.get()
