"""Real text that lies on every machine with the hybrid image's packages: nothing has to be downloaded.

The descriptions and licences of all installed packages, Python's help topics, and some files for what is rare
there: Chinese and Japanese, accented names, emoji, and words of more than 100 characters (checksums, digits).
"""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from pydoc_data.topics import topics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RARE = {
    "mpmath": ["mpmath/tests/torture.py"],
    "pygments": ["pygments/lexers/esoteric.py"],
    "rich": ["rich/__main__.py", "rich/_emoji_codes.py"],
    "scikit-image": ["skimage/data/_fetchers.py"],
    "scipy": ["scipy/io/matlab/tests/data/japanese_utf8.txt"],
    "transformers": [
        "transformers/models/chinese_clip/modeling_chinese_clip.py",
        "transformers/models/cpmant/modeling_cpmant.py",
        "transformers/models/gpt_neox_japanese/tokenization_gpt_neox_japanese.py",
        "transformers/models/roc_bert/modeling_roc_bert.py",
    ],
}
"""Files by the package that brings them; each line is a paragraph, code included."""

KINDS = {
    "accents": re.compile(r"[\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f]"),
    "cjk": re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"),
    "emoji": re.compile(r"[\u2600-\u27bf\U0001f300-\U0001faff]"),
    "longWords": re.compile(r"[^\W_]{101,}"),
}
"""What makes a sentence one of a rare kind."""

SHORTEST, LONGEST = 3, 600
"""Characters; what is longer is a table or a list, of which the lines are taken."""

_LEGAL = re.compile(r"(?i)licen[sc]e|copying|notice|authors")


def paragraphs() -> Iterator[str]:
    """Read everything, in an order that depends on nothing but what is installed."""
    for name in sorted(topics):
        yield from _split(topics[name])
    found = {d.metadata["Name"].lower(): d for d in importlib.metadata.distributions()}
    for name in sorted(found):
        package = found[name]
        yield from _split((package.read_text("METADATA") or "").partition("\n\n")[2])
        for file in package.files or ():
            if _LEGAL.search(file.name):
                yield from _split(_text(Path(str(file.locate()))))
        for path in RARE.get(name, ()):
            yield from _text(Path(str(package.locate_file(path)))).splitlines()


def sentences(texts: Iterable[str]) -> list[list[str]]:
    """Cut paragraphs into sentences.

    Parameters
    ----------
    texts
        The paragraphs.

    Returns
    -------
    list of list of str
        The sentences of each paragraph that has any; none comes twice.
    """
    seen: set[str] = set()
    cut: list[list[str]] = []
    for text in texts:
        fresh: list[str] = []
        parts = re.split(r"(?<=[.!?])\s+|(?<=。)", " ".join(text.split()))
        if max(map(len, parts)) > LONGEST:
            parts = [" ".join(line.split()) for line in text.splitlines()]
        for sentence in parts:
            # A replacement character means that the file was not what its reader took it for.
            if SHORTEST <= len(sentence) <= LONGEST and sentence not in seen and "\ufffd" not in sentence:
                seen.add(sentence)
                fresh.append(sentence)
        if fresh:
            cut.append(fresh)
    return cut


def kinds(sentence: str) -> set[str]:
    """Return which rare kinds a sentence belongs to."""
    return {kind for kind, pattern in KINDS.items() if pattern.search(sentence)}


def _split(text: str) -> list[str]:
    return re.split(r"\n\s*\n", text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""  # listed but not installed, or in an old encoding: there is enough without it
