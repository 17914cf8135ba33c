"""Numbers in text that somebody else has written."""

from __future__ import annotations

from typing import Optional


def whole(text: str, digits: int = 9) -> Optional[int]:
    """Return the number that so many digits at most stand for; None for all else.

    ``str.isdigit`` takes digits that `int` refuses ("²"), and `int` refuses more than 4,300 of them.
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= digits else None
