"""The findings in a job's status: what was said while it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.insight.collect.job import part
from ftjob.insight.summary import Evidence, Finding
from ftjob_protocol.values.ranges import read_ranges
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from typing import Literal

MOST = 10
_RANKS = 1000
_TEXT = 400


def told_findings(body: dict[str, Any]) -> list[Finding]:
    """Return them; what has another form is left out."""
    found = part(part(body, "status"), "profile").get("findings")
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    return [_finding(entry) for entry in entries[:MOST] if entry.get("kind") and entry.get("text")]


def _finding(entry: dict[str, Any]) -> Finding:
    def text(key: str) -> str:
        return clean(str(entry.get(key) or ""), _TEXT)

    said = entry.get("confidence")
    confidence: Literal["High", "Medium", "Low"] = said if said in {"High", "Medium"} else "Low"
    share, evidence = entry.get("costShare"), entry.get("evidence")
    return Finding(
        kind=text("kind"),
        ranks=_ranks(entry.get("ranks")),
        node=text("node") or None,
        cause=text("cause") or None,
        cost_share=float(share) if isinstance(share, int | float) and 0 <= share <= 1 else 0.0,
        confidence=confidence,
        text=text("text"),
        evidence=[Evidence(text=clean(str(line), _TEXT)) for line in evidence[:MOST]]
        if isinstance(evidence, list)
        else [],
        next=text("next"),
        line=text("line") or None,
    )


def _ranks(text: Any) -> list[int]:
    try:
        ranges = read_ranges(text) if isinstance(text, str) else ()
    except ValueError:
        return []
    return [rank for found in ranges for rank in found[:_RANKS]][:_RANKS]
