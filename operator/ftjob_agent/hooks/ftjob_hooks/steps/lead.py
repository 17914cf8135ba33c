"""Which of a program's optimizers is the one whose steps count; pure."""

from __future__ import annotations

import weakref
from typing import Any, Optional, Tuple

_TAKES_OVER = 3


class Lead:
    """One optimizer leads, and its steps are the program's.

    Others that alternate with it in a loop (a discriminator's, one for each layer) make no steps of their
    own. One that is called three times while the leader is not has taken over, since the leader has been used
    up, and these steps count as well. One that is gone leads no more.
    """

    def __init__(self) -> None:
        self._leader: Optional[weakref.ref[Any]] = None
        # How often the others were called since the leader was, and how many steps that were.
        self._others: weakref.WeakKeyDictionary[Any, Tuple[int, int]] = weakref.WeakKeyDictionary()

    def leads(self, optimizer: object) -> bool:
        """Whether its steps are the program's."""
        return self._leader is not None and self._leader() is optimizer

    def count(self, optimizer: object, steps: int = 1) -> int:
        """Say how many steps of the program these steps of an optimizer, made in one call, are."""
        if self.leads(optimizer):
            if steps:
                self._others.clear()
            return steps
        calls, made = self._others.get(optimizer, (0, 0))
        if steps > 0:
            calls, made = calls + 1, made + steps
        if calls < _TAKES_OVER and self._leader is not None and self._leader() is not None:
            self._others[optimizer] = calls, made
            return 0
        self._leader = weakref.ref(optimizer)
        self._others.clear()
        return made
