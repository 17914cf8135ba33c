"""The threat model says of each line which tests hold it; here is checked that these tests exist."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
SECTION = (ROOT / "docs" / "security.md").read_text().partition("## What holds")[2].partition("\n## ")[0]
ROWS = [line.split(" | ") for line in SECTION.splitlines() if line.startswith("| ") and "---" not in line]
LINES = [row for row in ROWS if row[0] != "| it holds that"]


@functools.cache
def functions_of(file: str) -> frozenset[str]:
    found = ast.parse((TESTS / file).read_text())
    return frozenset(
        node.name for node in ast.walk(found) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_there_are_lines() -> None:
    assert len(LINES) >= 15


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0].strip("| ")[:60])
def test_each_line_names_tests_that_exist(line: list[str]) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", line[1])
    assert named
    for file, name in named:
        assert name in functions_of(file), f"{file} has no {name}"
    for golden in re.findall(r"`(golden/[^`]+)`", line[1]):
        assert (TESTS / golden).is_file()
