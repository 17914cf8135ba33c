"""Python's own language reference as a small corpus of real text, one token a character.

`pydoc_data.topics` is part of every Python (PSF licence), so nothing has to be downloaded: about 1,900
different paragraphs of English prose and code, 340,000 characters. Which paragraph is held out depends on
its text alone, so that the split is the same everywhere.
"""

from __future__ import annotations

import re
import textwrap
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

PAD, MASK, UNKNOWN = 0, 1, 2
FIRST = 3
"""Token of the first character of `ALPHABET`; those before it stand for no character."""
ALPHABET = "".join(chr(code) for code in range(32, 127))
VOCABULARY = FIRST + len(ALPHABET)

_TOKEN = {character: FIRST + i for i, character in enumerate(ALPHABET)}


@dataclass(frozen=True)
class Corpus:
    """Lines of tokens (lines, width), filled up with `PAD` on the right."""

    train: Ints
    held_out: Ints


def load(width: int) -> Corpus:
    """Read the corpus and wrap its paragraphs into lines.

    Parameters
    ----------
    width
        Characters in the longest line. The last line of a paragraph is shorter.

    Returns
    -------
    Corpus
        A tenth of the paragraphs is held out; none of them is in the part to learn from as well.
    """
    train: list[str] = []
    held_out: list[str] = []
    for paragraph in _paragraphs():
        held = zlib.crc32(paragraph.encode()) % 10 == 0
        (held_out if held else train).extend(textwrap.wrap(paragraph, width))
    return Corpus(encode(train, width), encode(held_out, width))


def encode(lines: list[str], width: int) -> Ints:
    """Return the tokens of the lines (lines, width); what is longer than ``width`` is cut off."""
    tokens = np.full((len(lines), width), PAD, dtype=np.int64)
    for row, line in enumerate(lines):
        known = [_TOKEN.get(character, UNKNOWN) for character in line[:width]]
        tokens[row, : len(known)] = known
    return tokens


def decode(tokens: Ints) -> str:
    """Return the line that the tokens (width,) stand for; ``_`` for what is masked or unknown."""
    return "".join(ALPHABET[token - FIRST] if token >= FIRST else "_" for token in tokens if token != PAD)


def _paragraphs() -> list[str]:
    try:
        from pydoc_data.topics import topics  # noqa: PLC0415 - some distributions leave it out
    except ImportError as error:
        raise SystemExit(
            "this Python comes without pydoc_data, the text to learn: install the whole standard library"
        ) from error
    blocks = (block for name in sorted(topics) for block in re.split(r"\n\s*\n", topics[name]))
    # Rules of tables and underlines teach nothing.
    tidy = (re.sub(r"([^\w\s])\1{3,}", r"\1", " ".join(block.split())) for block in blocks)
    # Topics share paragraphs: in a set, or what is held out would be learned elsewhere.
    return sorted({block for block in tidy if len(block) >= 20})
