"""Converted jobs as YAML that ``kubectl apply`` takes, with their notes as comments above them."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.convert.convert import Converted

WIDTH = 100
OTHERS_READ = re.compile(r"[-+]?[.\d]|[yYnN]$")
"""Texts that other readers of YAML than PyYAML may take for numbers or truths, such as 1e3."""


class _Dumper(yaml.SafeDumper):
    """YAML without aliases, and texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else "'" if OTHERS_READ.match(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(converted: Converted, source: Iterable[str]) -> str:
    """Return a converted job, and what stands beside it, as YAML documents.

    Parameters
    ----------
    source
        Lines that say what it was converted from.
    """
    lines = [*source, *map(str, converted.notes)]
    comments = [part for line in lines for part in _wrapped(line)]
    documents = [
        yaml.dump(body, Dumper=_Dumper, sort_keys=False, width=WIDTH, allow_unicode=True)
        for body in (converted.job, *converted.beside)
    ]
    return "\n".join(comments) + "\n" + "---\n".join(documents)


def _wrapped(line: str) -> list[str]:
    """Return a text as comments, whatever is in it."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in line).split())
    return textwrap.wrap(plain, WIDTH, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)
