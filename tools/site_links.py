"""A hook of mkdocs: links to files of the repository that are outside of docs/ become their paths.

In a repository browser such a link leads to the file. The site knows no address of the repository, so there
the reader sees where the file is. A link to a file that does not exist stays as it is, and a strict build
refuses it.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CODE_OR_LINK = re.compile(
    r"^(?P<fence> *```).*?^(?P=fence)|(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>\.\./[^)\s#]+)(?:#[^)\s]*)?\)",
    re.MULTILINE | re.DOTALL,
)
"""A block of code, in which nothing is a link, or a link that leads up."""


class File(Protocol):
    """What is needed of mkdocs' file."""

    src_uri: str


class Page(Protocol):
    """What is needed of mkdocs' page."""

    file: File


def on_page_markdown(markdown: str, *, page: Page, **_others: object) -> str:
    """Return a page's Markdown with the paths of files in place of links to them."""
    return CODE_OR_LINK.sub(partial(_shown, DOCS / page.file.src_uri), markdown)


def _shown(page: Path, found: re.Match[str]) -> str:
    target = (page.parent / (found["target"] or "")).resolve()  # of a block of code: inside
    inside = target.is_relative_to(DOCS)
    if inside or not (target.is_relative_to(ROOT) and target.exists()):
        return found[0]
    path = f"`{target.relative_to(ROOT)}`"
    return path if found["text"].strip("`") in path else f"{found['text']} ({path})"
