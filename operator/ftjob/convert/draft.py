"""A conversion under way: the job as it was, the job as it becomes, and what its owner has to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ftjob.api.problem import Problem
from ftjob.models.manifest import mapping

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from ftjob.models.manifest import Manifest


class NoteKind(StrEnum):
    """What a note is about."""

    DROPPED = "dropped"
    CHANGED = "changed"
    CHECK = "check"


@dataclass(frozen=True)
class Note:
    """One thing that the owner of a converted job has to know."""

    kind: NoteKind
    text: str

    def __str__(self) -> str:
        """Return the note as one line."""
        return f"{self.kind}: {self.text}"


class RefusedError(Exception):
    """A job can't be converted."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def refused(field: str, message: str, remedy: str) -> RefusedError:
    """Return that a job can't be converted, why, and what to do instead."""
    return RefusedError(Problem(field, message, remedy))


@dataclass(frozen=True)
class Options:
    """What the user says that the job does not."""

    command: tuple[str, ...] = ()
    """The image's entry point, for containers without a command."""
    strategy: str | None = None
    library: str | None = None
    runtimes: Mapping[str, Manifest] = field(default_factory=dict)
    """Runtimes of Kubeflow Trainer by name."""


@dataclass
class Draft:
    """What has become of a job so far. Each converter fills `spec`, and notes what it leaves out."""

    source: Manifest
    options: Options
    spec: Manifest = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    beside: list[Manifest] = field(default_factory=list)
    """Further objects, which the job needs to be what it was."""

    @property
    def kind(self) -> str:
        """The kind of the job as it was."""
        return str(self.source.get("kind"))

    @property
    def name(self) -> str:
        """The job's name, or what its name begins with."""
        meta = mapping(self.source, "metadata")
        return str(meta.get("name") or meta.get("generateName") or "")

    @property
    def given(self) -> Manifest:
        """The spec of the job as it was."""
        return mapping(self.source, "spec")

    def dropped(self, field: str, why: str) -> None:
        """Note that something is left out."""
        self._note(NoteKind.DROPPED, field, why)

    def changed(self, field: str, how: str) -> None:
        """Note that something is said or done in another way."""
        self._note(NoteKind.CHANGED, field, how)

    def check(self, field: str, what: str) -> None:
        """Note what only the owner can know."""
        self._note(NoteKind.CHECK, field, what)

    def drop_others(self, parent: Mapping[str, object], path: str, known: Container[str]) -> None:
        """Note each field that no rule of conversion knows; none is lost in silence."""
        for key, value in parent.items():
            if key not in known and value not in (None, [], {}, ""):
                self.dropped(f"{path}.{key}", "ftjob has nothing like it")

    def set(self, section: str, **fields: object) -> None:
        """Set fields of a section of the spec."""
        self.spec[section] = {**mapping(self.spec, section), **fields}

    def _note(self, kind: NoteKind, field: str, text: str) -> None:
        note = Note(kind, f"{field}: {text}")
        if note not in self.notes:
            self.notes.append(note)
