"""Why a folder can't be brought along."""

from __future__ import annotations


class CodeError(Exception):
    """A folder with code can't be packed; the text says why, and what to do about it."""
