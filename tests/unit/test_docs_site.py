"""The documentation as a site: it builds with strict links, asks no other machine, and its jobs are valid."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from ftjob.cli.source import read

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("**/*.md"))
BLOCK = re.compile(r"^ *```(?P<language>\w+)\n(?P<text>.*?)^ *```", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//"
    r"|<link\b(?=[^>]*\brel=\"?(?:stylesheet|icon|preconnect))[^>]*\bhref=\"?(?:https?:)?//"
)
"""What a browser would fetch from another machine."""


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    options = ["--strict", "--config-file", str(root / "mkdocs.yml"), "--site-dir", str(site)]
    command = [sys.executable, "-m", "mkdocs", "build", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def blocks(language: str, *containing: str) -> Iterator[tuple[str, str]]:
    """Yield the blocks of code of a language, each with its page."""
    for page in (ROOT / "README.md", *PAGES):
        for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if found["language"] == language and all(text in found["text"] for text in containing):
                yield page.relative_to(ROOT).as_posix(), found["text"]


def test_the_site_builds_and_asks_no_other_machine(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").glob("**/*.html"))
    assert len(pages) > len(PAGES)  # and the one for addresses that lead nowhere
    for page in pages:
        assert not ELSEWHERE.search(page.read_text(encoding="utf-8"))


def test_dead_links_end_the_build_and_are_named(tmp_path: Path) -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[0]
    (tmp_path / "mkdocs.yml").write_text(settings, encoding="utf-8")
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "site_links.py", tmp_path / "tools")
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "index.md"
    page.write_text("# Home\n\n[up](../mkdocs.yml) [here](#home)\n", encoding="utf-8")
    assert build(tmp_path, tmp_path / "site").returncode == 0
    dead = ["nowhere.md", "index.md#nowhere", "../nowhere.md"]
    page.write_text("# Home\n\n" + " ".join(f"[lost]({link})" for link in dead), encoding="utf-8")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert [link for link in dead if f"'{link}'" not in done.stderr] == []


def on_page(name: str, markdown: str) -> str:
    spec = spec_from_file_location("site_links", ROOT / "tools" / "site_links.py")
    assert spec is not None
    assert spec.loader is not None
    hook = module_from_spec(spec)
    spec.loader.exec_module(hook)
    shown = hook.on_page_markdown(markdown, page=SimpleNamespace(file=SimpleNamespace(src_uri=name)))
    assert isinstance(shown, str)
    return shown


def test_links_out_of_the_docs_become_paths() -> None:
    assert on_page("life.md", "[policy](../SECURITY.md#reporting), [`Makefile`](../Makefile)") == (
        "policy (`SECURITY.md`), `Makefile`"
    )
    assert on_page("frameworks/jax.md", "[samples](../../manifests/samples)") == "`manifests/samples`"


@pytest.mark.parametrize(
    "markdown",
    [
        "[life](../life.md)",
        "[gone](../../gone.md)",
        "[away](../../../../../etc/passwd)",
        "```\n[policy](../../SECURITY.md)\n```",
        "![picture](../images/report.png)",
    ],
)
def test_all_other_links_stay(markdown: str) -> None:
    assert on_page("frameworks/jax.md", markdown) == markdown


@pytest.mark.parametrize(("page", "text"), list(blocks("yaml", "kind: FrameworkTrainingJob")))
def test_jobs_in_the_docs_are_valid(tmp_path: Path, page: str, text: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text, encoding="utf-8")
    (found,) = read(str(file)).jobs
    assert not found.problems, page


@pytest.mark.parametrize(("page", "text"), list(blocks("python")))
def test_python_in_the_docs_can_be_parsed(page: str, text: str) -> None:
    ast.parse(text, page)
