"""What keeps a job from being started on this machine."""

from __future__ import annotations


class CannotRun(Exception):  # noqa: N818  reads as a sentence where it is raised
    """The job can't be run here; the text says why and what to do about it."""

    def __init__(self, thing: str, message: str, remedy: str) -> None:
        super().__init__(f"{thing}: {message}; {remedy}")
