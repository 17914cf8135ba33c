"""A summary as HTML."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ftjob.insight.marked import MARK
from ftjob.insight.page.parts import (
    PARTS,
    about,
    arrivals,
    bars,
    beside,
    coverage,
    figures,
    phases,
    readable_bytes,
    units,
)
from ftjob.insight.summary import encode

if TYPE_CHECKING:
    from ftjob.insight.summary import Summary

HERE = Path(__file__).parent


def render(summary: Summary, timeline: str = "") -> str:
    """Return the report.

    Parameters
    ----------
    timeline
        Where the timeline can be opened from this page; empty: the page says by which command.
    """
    script = f"{asset('heat.js')}\n{asset('report.js')}"
    style = asset("report.css")
    if summary.curves is not None:
        script = f"{asset('vendor/uplot.js')}\n{script}"
        style = f"{asset('vendor/uplot.css')}\n{style}"
    shown, hidden = bars(summary)
    phase_bars = phases(summary)
    named = [summary.findings[i] for i in summary.verdict.findings if 0 <= i < len(summary.findings)]
    first = named[0] if named else None
    pair = beside(summary, first)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            s=summary,
            mark=Markup(MARK),  # noqa: S704
            csp=_csp(script),
            style=Markup(style),  # noqa: S704  files of ours
            script=Markup(script),  # noqa: S704
            data=_json(encode(summary)),
            about=about(summary),
            first=first,
            others=[finding for finding in summary.findings if finding is not first],
            is_clear=all(summary.verdict.seen.values()) and summary.step_ms is not None,
            figures=figures(summary),
            bars=shown,
            hidden=hidden,
            parts=PARTS,
            used={piece.kind for bar in shown for piece in bar.pieces},
            arrivals=arrivals(summary),
            units=units(summary),
            beside=pair,
            has_lines=any(summary.ranks[i].where for i in pair),
            has_operators=any(summary.ranks[i].operators for i in pair),
            phases=phase_bars,
            phases_label=", ".join(f"{phase.name} {phase.text}" for phase in phase_bars),
            timeline=timeline,
            coverage=coverage(summary),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["bytes"] = readable_bytes
    return environment


@cache
def asset(name: str) -> str:
    """Return a file that pages are made of."""
    return (HERE / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """Return by what a Content-Security-Policy knows an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _csp(script: str) -> str:
    """Allow the one script of this page, and nothing from anywhere."""
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src '{digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _json(data: bytes) -> Any:
    """Return JSON that can't end the element it stands in, whatever texts are inside."""
    text = data.decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704
