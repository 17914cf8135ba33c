"""One vocabulary, two tokenizers: Hugging Face's, and tensorflow_text's, which works inside a graph.

Import torch and torchvision before this: the other way round their copies of LLVM and TensorFlow's clash.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import transformers
from tokenizers import BertWordPieceTokenizer

# isort: split
import tensorflow as tf
import tensorflow_text

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
