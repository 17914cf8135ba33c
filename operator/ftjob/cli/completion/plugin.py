"""``kubectl_complete-ftj``, which kubectl starts at TAB with the words after ``kubectl ftj``.

It prints one candidate a line, with a tab before its help, and a last line that says what the shell does with
them: cobra's ShellCompDirective.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from typing import TYPE_CHECKING

from ftjob.cli.completion.candidates import answer as complete

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

NO_SPACE, NO_FILES = 2, 4
_SPECIAL = re.compile(r"([^\w@%+=:,./-])")


def answer(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Print the candidates for the last of the words, which is empty if a new one begins."""
    *before, last = words or [""]
    line = " ".join(("ftj", *map(shlex.quote, before), _SPECIAL.sub(r"\\\1", last)))
    # What argcomplete is told by a fish: it has candidates with their help, and quotes them itself, as cobra.
    os.environ.update(
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_DFS="\t",
        _ARGCOMPLETE_IFS="\n",
        _ARGCOMPLETE_SHELL="fish",
        _ARGCOMPLETE_SUPPRESS_SPACE="1",
    )
    found = io.StringIO()
    complete(parser, found)
    option, is_one, _ = last.partition("=")
    begin = f"{option}=" if is_one and option.startswith("-") else ""
    lines = [each.removeprefix(begin).rstrip() for each in found.getvalue().splitlines()]
    directive = NO_FILES + NO_SPACE * any(each.endswith("/") for each in lines)
    print("\n".join((*lines, f":{directive}")))
