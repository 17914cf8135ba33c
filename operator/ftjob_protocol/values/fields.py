"""The fields of an object that somebody else has written."""

from __future__ import annotations

import math
from typing import Any, Iterable, Mapping, Optional

from ftjob_protocol.values.text import clean

INTEGER_LIMIT = 2**63
"""What the API can hold."""


class Fields:
    """Fields of an object, each of the type that it has to have; those that are not there have no value.

    Every error is a ValueError that names the field.

    Parameters
    ----------
    data
        What was read from JSON.
    name
        What the object is called in errors.
    """

    def __init__(self, data: Any, name: str) -> None:
        if not isinstance(data, dict):
            raise ValueError(f"{name} is not an object")  # noqa: TRY004  one error for all that can be wrong
        self._data: Mapping[str, Any] = data
        self.name = name

    def whole(self, key: str, *, most: int = INTEGER_LIMIT - 1) -> Optional[int]:
        """Return a whole number from 0 on."""
        value = self._data.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self._wrong(key, f"a whole number from 0 to {most}")
        return value

    def number(self, key: str, *, most: float) -> Optional[float]:
        """Return a number from 0 on."""
        value = self._data.get(key)
        if value is None:
            return None
        number = finite(value)
        if number is None or not 0 <= number <= most:
            raise self._wrong(key, f"a number from 0 to {most:g}")
        return number

    def text(self, key: str, limit: int, *, lines: bool = False, keep_end: bool = False) -> str:
        """Return a text that is fit to be shown, of so many bytes at most."""
        value = self._data.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(key, "a text")
        return clean(value, limit, lines=lines, keep_end=keep_end)

    def texts(self, key: str, limit: int, *, most: int) -> tuple[str, ...]:
        """Return the first of several texts, each of so many bytes at most."""
        value = self._data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self._wrong(key, "a list of texts")
        return tuple(clean(text, limit) for text in value[:most])

    def one_of(self, key: str, words: Iterable[str]) -> str:
        """Return one of these words."""
        value = self._data.get(key)
        found = next((word for word in words if word == value), None)
        if found is None:
            raise self._wrong(key, "one of the words that stand there")
        return found

    def inner(self, key: str) -> Optional[dict[str, Any]]:
        """Return an object."""
        value = self._data.get(key)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return value

    def _wrong(self, key: str, expected: str) -> ValueError:
        return ValueError(f"{self.name}.{key} is not {expected}")


def finite(value: Any) -> Optional[float]:
    """Return a number that JSON has a word for; None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond all floats
        return None
    return number if math.isfinite(number) else None


def count(value: Any) -> Optional[int]:
    """Return a number from 0 on that the API can hold, without its fraction; None for all else."""
    if finite(value) is None:
        return None
    return int(value) if 0 <= value < INTEGER_LIMIT else None
