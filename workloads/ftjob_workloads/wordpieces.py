"""One vocabulary, two tokenizers: Hugging Face's, and tensorflow_text's, which works inside a graph.

Import torch and torchvision before this: the other way round their copies of LLVM and TensorFlow's clash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import transformers
from tokenizers import BertWordPieceTokenizer

# isort: split
import tensorflow as tf
import tensorflow_text

from ftjob_workloads import installed_text, life

Ints = npt.NDArray[np.int64]

PAD, UNKNOWN, START, END, MASK = range(5)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The first tokens of the vocabulary, as in BERT's own."""

LENGTH = 48
"""Tokens of the longest input, `START` and `END` included; what is longer is cut off."""

LONGEST_WORD = 10_000
"""Longer words are unknown, to both tokenizers: no sentence is as long."""
BYTES_PER_WORD = 100
"""Both libraries' own limit, though one of them means characters."""

REQUIRED = {"accents": 50, "cjk": 20, "emoji": 1000, "longWords": 3, "unknown": 20}
"""Sentences of each rare kind that must be among those compared."""


@dataclass(frozen=True)
class Tokenizers:
    """The same tokenizer twice."""

    hugging_face: transformers.BertTokenizer
    tensorflow: tensorflow_text.FastBertTokenizer

    def ids(self, sentences: list[str]) -> tuple[list[list[int]], list[list[int]]]:
        """Tokenize with both, without `START` and `END`."""
        # Text may speak of [MASK]; tensorflow_text takes it for what it is, five characters and two brackets.
        ours = self.hugging_face(sentences, add_special_tokens=False, split_special_tokens=True)
        return ours["input_ids"], self.tensorflow.tokenize(tf.constant(sentences)).to_list()


def tokenizers_for(vocabulary: list[str], longest_word: int = LONGEST_WORD) -> Tokenizers:
    """Make both tokenizers so that they agree.

    Neither lower-cases: tensorflow_text does it by Unicode's case folding with compatibility forms, which
    takes circled letters, ligatures and fractions apart, and Hugging Face does not. And both are told from
    which length on a word is unknown: by default it is 100, but one counts characters, the other bytes.
    """
    numbers = {token: number for number, token in enumerate(vocabulary)}
    ours = transformers.BertTokenizer(vocab=numbers, do_lower_case=False)
    ours.backend_tokenizer.model.max_input_chars_per_word = longest_word
    theirs = tensorflow_text.FastBertTokenizer(
        vocabulary,
        token_out_type=tf.int64,
        lower_case_nfd_strip_accents=False,
        max_bytes_per_word=longest_word,
    )
    return Tokenizers(ours, theirs)


def train_vocabulary(sentences: list[str], size: int) -> list[str]:
    """Learn word pieces; two runs may differ in a few, where pieces are equally frequent."""
    trainer = BertWordPieceTokenizer(lowercase=False)
    trainer.train_from_iterator(
        sentences, vocab_size=size, special_tokens=list(SPECIAL), show_progress=False, limit_alphabet=1000
    )
    numbers = trainer.get_vocab()
    return sorted(numbers, key=lambda token: numbers[token])


def model_inputs(tokenizer: tensorflow_text.FastBertTokenizer, sentences: list[str]) -> Ints:
    """Turn sentences into inputs (n, `LENGTH`) in one graph, which could also read files, or be served."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def graph(texts: tf.Tensor) -> tf.Tensor:
        tokens = tokenizer.tokenize(texts)[:, : LENGTH - 2]
        edge = tf.ones([tf.shape(texts)[0], 1], tf.int64)
        return tf.concat([edge * START, tokens, edge * END], axis=1).to_tensor(PAD, shape=[None, LENGTH])

    inputs: Ints = graph(tf.constant(sentences)).numpy()
    return inputs


def compare(vocabulary: list[str], sentences: list[str]) -> dict[str, Any]:
    """Tokenize every sentence with both tokenizers.

    Raises
    ------
    life.Missed
        Some ids differ, or a rare kind of text was not among the sentences.
    """
    ours, theirs = tokenizers_for(vocabulary).ids(sentences)
    different = [s for s, a, b in zip(sentences, ours, theirs, strict=True) if a != b]
    counts = dict.fromkeys(REQUIRED, 0)
    for sentence, ids in zip(sentences, ours, strict=True):
        for kind in installed_text.kinds(sentence) | ({"unknown"} if UNKNOWN in ids else set()):
            counts[kind] += 1
    # A character has four bytes at most: of shorter words both libraries' own limits say the same.
    long = [s for s in sentences if max(map(len, s.split())) > BYTES_PER_WORD // 4]
    limited = zip(*tokenizers_for(vocabulary, BYTES_PER_WORD).ids(long), strict=True)
    by_default = sum(a != b for a, b in limited)
    print(f"{len(sentences)} sentences {counts}")
    print(f"{len(different)} are tokenized differently; with the default limits {by_default} would be")
    for sentence in different[:5]:
        print(f"differs: {sentence[:100]!r}")
    life.require(not different, f"{len(different)} of {len(sentences)} sentences get different ids")
    for kind, least in REQUIRED.items():
        life.require(
            counts[kind] >= least,
            f"only {counts[kind]} sentences with {kind}, {least} are needed: install the packages in "
            "installed_text.RARE",
        )
    return {
        "sentences": len(sentences),
        "different": len(different),
        "differentWithDefaultLimits": by_default,
        "kinds": counts,
        "tokens": sum(map(len, ours)),
    }
