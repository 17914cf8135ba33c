"""The map in CONTRIBUTING.md leads to what it names, and every link of the documentation leads somewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("charts/**/*.md")})
MAP_ROW = re.compile(
    r"^\| (?P<question>Where [^|]+\?) \| `(?P<file>[^`|]+)` \| (?P<names>`[^`|]+`(?:, `[^`|]+`)*) \|$"
)
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


class Row(NamedTuple):
    question: str
    file: str
    names: frozenset[str]


def the_map() -> list[Row]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Where is what\n")[2].partition("\n## ")[0]
    found = []
    for line in section.splitlines():
        row = MAP_ROW.match(line)
        assert row or not line.startswith("| Where"), f"not a row of the map: {line}"
        if row:
            found.append(Row(row["question"], row["file"], frozenset(re.findall(r"`([^`]+)`", row["names"]))))
    return found


def defined(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Yield the functions, classes and constants of a module; methods as Class.method."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name
            yield from defined(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        elif isinstance(node, ast.Assign):
            yield from (prefix + target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id


def anchors(page: Path) -> set[str]:
    """Return what GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_map_answers_twelve_questions() -> None:
    questions = [row.question for row in the_map()]
    assert len(questions) >= 12
    assert len(set(questions)) == len(questions)


@pytest.mark.parametrize("row", the_map(), ids=lambda row: row.question)
def test_the_map_leads_to_what_it_names(row: Row) -> None:
    module = ast.parse((ROOT / row.file).read_text(encoding="utf-8"))
    assert row.names <= set(defined(module.body))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for found in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = found["target"].partition("#")
        if path.startswith(("http://", "https://")):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(found["target"])
    assert not lost
