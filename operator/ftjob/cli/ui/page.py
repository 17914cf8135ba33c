"""The one page, with its script and its style in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ftjob.cli.terminal import one_line
from ftjob.insight.page.render import asset, digest

ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Page:
    """HTML, and the Content-Security-Policy that it is sent with."""

    html: bytes
    policy: str


def page(title: str) -> Page:
    """Return the page.

    Parameters
    ----------
    title
        What it is about.
    """
    script = "\n".join((asset("vendor/uplot.js"), asset("heat.js"), _file("page.js")))
    style = "\n".join((asset("vendor/uplot.css"), _file("page.css")))
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html = environment.get_template("page.html.j2").render(
        title=one_line(title),
        style=Markup(style),  # noqa: S704  files of ours
        script=Markup(script),  # noqa: S704
    )
    policy = (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(html.encode(), policy)


def _file(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
