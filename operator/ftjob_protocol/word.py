"""Words that are read and written as texts."""

from __future__ import annotations

from enum import Enum


class Word(str, Enum):
    """One of a fixed set of texts; as a text it is its value (`enum.StrEnum` needs Python 3.11)."""

    def __str__(self) -> str:
        return str.__str__(self)
