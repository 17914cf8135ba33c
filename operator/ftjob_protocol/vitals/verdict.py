"""A verdict: why a job is slow, as its leader tells the operator, and how it stands in ``job.yaml``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Optional, Sequence

from ftjob_protocol import Word
from ftjob_protocol.values.fields import Fields
from ftjob_protocol.values.ranges import format_ranges, read_ranges
from ftjob_protocol.values.text import clean

TEXT_BYTES = 240
NODE_BYTES = 253
LINE_BYTES = 160
EVIDENCE_BYTES = 160
EVIDENCE_MAX = 4
NEXT_BYTES = 240
RANKS_BYTES = 200
FINDINGS_MAX = 3
WORD_BYTES = 40
SECONDS_MAX = 1e12
MILLISECONDS_MAX = 1e9

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_WORD = re.compile(r"[A-Z][A-Za-z]*", re.ASCII)


class Confidence(Word):
    """How sure a finding is."""

    HIGH = "High"
    MEDIUM = "Medium"
    LOW = "Low"


@dataclass(frozen=True)
class Finding:
    """One cause of lost time."""

    kind: str
    """One word for programs: ``Straggler``, ``InputBound``, …"""
    text: str
    """One sentence for people."""
    confidence: str
    cost_share: float
    """Of the time of all steps, 0 to 1."""
    ranks: Sequence[range] = ()
    """Empty: all alike."""
    node: str = ""
    cause: str = ""
    line: str = ""
    """Of the program: ``load.py:31 decode``."""
    excess_ms: Optional[float] = None
    """How much longer a step takes the ranks than it takes the others."""
    evidence: Sequence[str] = ()
    next: str = ""
    """What to do about it."""

    def as_json(self) -> dict[str, Any]:
        """Return the form in which it is told, without what it does not have."""
        document = {
            "kind": self.kind,
            "text": clean(self.text, TEXT_BYTES),
            "confidence": self.confidence,
            "costShare": round(self.cost_share, 4),
            "ranks": shortened(self.ranks),
            "node": clean(self.node, NODE_BYTES),
            "cause": self.cause,
            "line": clean(self.line, LINE_BYTES),
            "excessMs": None if self.excess_ms is None else round(self.excess_ms, 3),
            "evidence": [clean(text, EVIDENCE_BYTES) for text in self.evidence[:EVIDENCE_MAX]],
            "next": clean(self.next, NEXT_BYTES),
        }
        return {key: value for key, value in document.items() if value not in (None, "", [])}

    @classmethod
    def read(cls, data: Any) -> Finding:
        """Read that form; ValueError names what is wrong in it."""
        fields = Fields(data, "finding")
        return cls(
            kind=_word(fields, "kind") or _missing("kind"),
            text=fields.text("text", TEXT_BYTES),
            confidence=fields.one_of("confidence", Confidence),
            cost_share=fields.number("costShare", most=1) or 0.0,
            ranks=read_ranges(fields.text("ranks", RANKS_BYTES)),
            node=fields.text("node", NODE_BYTES),
            cause=_word(fields, "cause"),
            line=fields.text("line", LINE_BYTES),
            excess_ms=fields.number("excessMs", most=MILLISECONDS_MAX),
            evidence=fields.texts("evidence", EVIDENCE_BYTES, most=EVIDENCE_MAX),
            next=fields.text("next", NEXT_BYTES),
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it the same finding, whatever its numbers are now."""
        return (self.kind, tuple(self.ranks), self.node, self.cause, self.confidence, bool(self.line))


@dataclass(frozen=True)
class Verdict:
    """Why a job is slow, or that nothing was found."""

    text: str
    kind: str = ""
    """That of the first finding, or one word for that there is none: ``NoProblem``, ``Unknown``."""
    time_s: float = 0.0
    """When it was reached, in seconds since 1970."""
    findings: Sequence[Finding] = ()
    """The first is what `text` says; empty: nothing was found."""

    def as_json(self) -> dict[str, Any]:
        """Return the form in which it is told."""
        findings = [finding.as_json() for finding in self.findings[:FINDINGS_MAX]]
        text = clean(self.text, TEXT_BYTES)
        return {"text": text, "kind": self.kind, "timeS": round(self.time_s, 3), "findings": findings}

    @classmethod
    def read(cls, data: Any) -> Optional[Verdict]:
        """Read that form, or null; ValueError names what is wrong in it."""
        if data is None:
            return None
        fields = Fields(data, "verdict")
        findings = data.get("findings") or []
        if not isinstance(findings, list):
            raise ValueError("verdict.findings is not a list")  # noqa: TRY004  one error for all
        return cls(
            fields.text("text", TEXT_BYTES),
            _word(fields, "kind"),
            fields.number("timeS", most=SECONDS_MAX) or 0.0,
            tuple(Finding.read(finding) for finding in findings[:FINDINGS_MAX]),
        )

    @property
    def identity(self) -> object:
        """What makes it the same verdict, whatever its numbers are now."""
        return tuple(finding.identity for finding in self.findings) or (self.kind, without_numbers(self.text))


def without_numbers(text: str) -> str:
    """Return what stays the same in a sentence when its numbers change."""
    return _NUMBER.sub("", text)


def shortened(ranks: Sequence[range]) -> str:
    """Write as many of these ranks as there is room for."""
    text = format_ranges(ranks)
    return text if len(text) <= RANKS_BYTES else text[: RANKS_BYTES + 1].rpartition(",")[0]


def _word(fields: Fields, key: str) -> str:
    text = fields.text(key, WORD_BYTES)
    if text and not _WORD.fullmatch(text):
        raise ValueError(f"{fields.name}.{key} is not one word in CamelCase")
    return text


def _missing(key: str) -> str:
    raise ValueError(f"finding.{key} is missing")
