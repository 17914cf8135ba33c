"""Two frameworks read one text: Hugging Face and tensorflow_text tokenize, torch embeds, TensorFlow attends.

What it shows:

* a WordPiece vocabulary that is trained here, on real text (`installed_text`), and no hub;
* `transformers.BertTokenizer` and `tensorflow_text.FastBertTokenizer` that give the same ids for every
  sentence, with accents, Chinese, emoji, unknown characters and words of more than 100 characters, and the
  three settings without which they do not (`wordpieces.tokenizers_for`);
* strings that become ids inside a TensorFlow graph and then train a small BERT in torch;
* sentence embeddings from it, and the first layer's self-attention computed in TensorFlow on torch's
  embeddings, equal to torch's within 1e-5.

About 26,000 sentences are compared, and all must be equal. After 120 steps (smoke size) BERT guesses masked
tokens of held-out sentences with a loss of 5.7, 0.4 less than their frequencies alone give; 0.2 is demanded.

    python -m ftjob_workloads.hybrid_nlp
"""

from __future__ import annotations

import logging
import sys
import zlib
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
import torchvision  # noqa: F401 - before TensorFlow: the other way round their copies of LLVM clash
import transformers
from torch import Tensor

# isort: split
import tensorflow as tf

from ftjob_workloads import installed_text, life, tensorflow_start
from ftjob_workloads.wordpieces import (
    END,
    LENGTH,
    MASK,
    PAD,
    SPECIAL,
    Tokenizers,
    compare,
    model_inputs,
    tokenizers_for,
    train_vocabulary,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

TOLERANCE = 1e-5
"""Largest difference between the frameworks' attention that is rounding, in values around 1."""


def make_bert(vocabulary: int) -> Any:
    """Build a BERT of two layers and 0.8 million weights."""
    # transformers imports torchao, whose way to register its enums torch calls deprecated in a log line.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "max_position_embeddings": LENGTH,
        "pad_token_id": PAD,
        "hidden_dropout_prob": 0.0,  # one pass over little text: nothing is learned by heart
        "attention_probs_dropout_prob": 0.0,
        "attn_implementation": "eager",  # the one that shows its probabilities
    }
    return transformers.BertModel(transformers.BertConfig(**settings), add_pooling_layer=False)


def hide(inputs: Tensor, vocabulary: int, seed: int) -> tuple[Tensor, Tensor]:
    """Hide 15 % of the tokens as BERT does: most become `MASK`, a tenth any token, a tenth stay.

    Returns
    -------
    tuple of Tensor
        The inputs (n, m) so changed, and where something is to be guessed (n, m).
    """
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(inputs.shape, generator=generator)
    hidden = (chance < 0.15) & (inputs > END)
    anything = torch.randint(len(SPECIAL), vocabulary, inputs.shape, generator=generator)
    changed = torch.where(chance < 0.12, MASK, torch.where(chance < 0.135, anything, inputs))
    return torch.where(hidden, changed, inputs), hidden


class Pipeline:
    """What the parts of the program share; a thing is made, or read from a checkpoint, when it is needed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.step = 0
        self.loss = float("nan")

    @cached_property
    def paragraphs(self) -> list[list[str]]:
        """The text, as the sentences of each paragraph."""
        return installed_text.sentences(installed_text.paragraphs())

    @cached_property
    def held_out(self) -> list[list[str]]:
        """A tenth of the paragraphs; which, depends on their text alone."""
        return [group for group in self.paragraphs if zlib.crc32(group[0].encode()) % 10 == 0]

    @cached_property
    def learn(self) -> list[str]:
        """The sentences of all other paragraphs."""
        return [s for group in self.paragraphs if zlib.crc32(group[0].encode()) % 10 for s in group]

    @cached_property
    def vocabulary(self) -> list[str]:
        """The word pieces, kept in the checkpoints: the model's weights are of these and no others."""
        file: Path = self.args.checkpoint_dir / "vocabulary.txt"
        if not file.exists():
            tokens = train_vocabulary(self.learn, self.args.vocabulary)
            life.replace_text(file, "\n".join(tokens))
        return file.read_text(encoding="utf-8").split("\n")

    @cached_property
    def tokenizers(self) -> Tokenizers:
        """Both of them."""
        return tokenizers_for(self.vocabulary)

    @cached_property
    def inputs(self) -> Tensor:
        """The sentences to learn from (n, `LENGTH`)."""
        return torch.from_numpy(model_inputs(self.tokenizers.tensorflow, self.learn))

    @cached_property
    def bert(self) -> Any:
        """The model, as far as it has been trained."""
        torch.manual_seed(self.args.seed)
        bert = make_bert(len(self.vocabulary)).to(self.device)
        self.optimizer = torch.optim.AdamW(bert.parameters(), lr=2e-3, weight_decay=0.01)
        if self.file.exists():
            state = torch.load(self.file, map_location=self.device, weights_only=True)
            bert.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.loss = state["step"], state["loss"]
        return bert

    @property
    def file(self) -> Path:
        """The model's checkpoint."""
        folder: Path = self.args.checkpoint_dir
        return folder / "bert.pt"

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "model": self.bert.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "loss": self.loss,
        }
        life.replace(self.file, partial(torch.save, state))

    def guess(self, inputs: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Hide tokens of the inputs (n, m); return the mean loss of the guesses, and what they should be."""
        inputs = inputs[:, : int((inputs != PAD).sum(1).max())]  # less to compute
        changed, hidden = (t.to(self.device) for t in hide(inputs, len(self.vocabulary), seed))
        inputs = inputs.to(self.device)
        output = self.bert(input_ids=changed, attention_mask=(inputs != PAD).long()).last_hidden_state[hidden]
        table = self.bert.embeddings.word_embeddings.weight  # tied: a token is guessed by its own embedding
        targets = inputs[hidden]
        return F.cross_entropy(output @ table.T, targets), targets

    def train(self, until: int) -> dict[str, float]:
        """Train up to a step, and save; a batch is a function of seed and step."""
        bert = self.bert  # reads the checkpoint, and the step with it
        bert.train()
        losses = []
        for step in range(self.step, until):
            rows = np.random.default_rng((self.args.seed, step)).integers(
                len(self.inputs), size=self.args.batch_size
            )
            loss, _ = self.guess(self.inputs[rows], seed=step)
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(bert.parameters(), 1.0)
            self.optimizer.step()
            losses.append(loss.item())
            self.step = step + 1
        if losses:
            self.loss = float(np.mean(losses))
            self.save()
        print(f"step {self.step} loss {self.loss:.4f}")
        return {"step": self.step, "loss": self.loss}

    @torch.no_grad()
    def test(self) -> dict[str, float]:
        """Guess hidden tokens of sentences that were not learned, by context and by frequency alone.

        Raises
        ------
        life.Missed
            The context helps too little.
        """
        inputs = torch.from_numpy(
            model_inputs(self.tokenizers.tensorflow, [s for group in self.held_out for s in group])
        )
        self.bert.eval()
        counts = torch.bincount(self.inputs.flatten(), minlength=len(self.vocabulary)).float() + 1
        counts[: len(SPECIAL)] = (
            0  # they are never to be guessed, except for unknown ones, which are not hidden
        )
        frequency = (counts / counts.sum()).log().to(self.device)
        batches = [self.guess(batch, seed=i) for i, batch in enumerate(torch.split(inputs, 128))]
        sizes = np.array([len(targets) for _, targets in batches], float)
        by_context = float(np.average([loss.item() for loss, _ in batches], weights=sizes))
        by_frequency = -frequency[torch.cat([targets for _, targets in batches])].mean().item()
        gained = by_frequency - by_context
        print(f"held-out loss {by_context:.4f}, by frequency {by_frequency:.4f}: context gains {gained:.4f}")
        life.require(
            gained >= self.args.min_gain,
            f"context gains {gained:.4f}, less than --min-gain {self.args.min_gain}",
        )
        return {"loss": by_context, "lossByFrequency": by_frequency, "gained": gained}

    def compare(self) -> dict[str, Any]:
        """Tokenize every sentence with both tokenizers."""
        return compare(self.vocabulary, [sentence for group in self.paragraphs for sentence in group])

    @torch.no_grad()
    def embed(self) -> dict[str, float]:
        """Embed held-out sentences, and see whether neighbours in a paragraph are more alike than others.

        Raises
        ------
        life.Missed
            They are not.
        """
        groups = [group for group in self.held_out if len(group) > 1]
        sentences = [sentence for group in groups for sentence in group[:2]]
        inputs = torch.from_numpy(model_inputs(self.tokenizers.tensorflow, sentences)).to(self.device)
        present = (inputs != PAD).long()
        self.bert.eval()
        states = torch.cat(
            [
                self.bert(input_ids=ids, attention_mask=there).last_hidden_state * there[..., None]
                for ids, there in zip(torch.split(inputs, 128), torch.split(present, 128), strict=True)
            ]
        )
        embeddings = states.sum(1) / present.sum(1, keepdim=True)
        life.replace(
            self.args.results_dir / "embeddings.npy",
            lambda file: _save(file, embeddings.cpu().numpy()),
        )
        # Without what all sentences have in common, or any two are alike.
        centred = F.normalize(embeddings - embeddings.mean(0), dim=-1)
        likeness = (centred[::2] @ centred[1::2].T).cpu().numpy()
        neighbours = np.diag(likeness)
        ranked = (neighbours[:, None] > likeness).sum() / (likeness.size - len(neighbours))
        print(f"{len(sentences)} embeddings; a neighbour is more alike than another sentence in {ranked:.1%}")
        life.require(
            ranked >= 0.6, f"neighbours are more alike than other sentences only in {ranked:.1%}, not 60 %"
        )
        return {
            "sentences": len(sentences),
            "width": embeddings.shape[1],
            "neighboursMoreAlike": float(ranked),
        }

    @torch.no_grad()
    def attend(self) -> dict[str, float]:
        """Compute the first layer's self-attention in TensorFlow, on torch's embeddings and weights.

        Raises
        ------
        life.Missed
            TensorFlow's result is not torch's.
        """
        sentences = [group[0] for group in self.held_out[:64]]
        inputs = torch.from_numpy(model_inputs(self.tokenizers.tensorflow, sentences)).to(self.device)
        self.bert.eval()
        layer = self.bert.encoder.layer[0].attention.self
        embedded = self.bert.embeddings(input_ids=inputs)
        blind = (inputs == PAD)[:, None, None, :] * torch.finfo(torch.float32).min
        context, weights = layer(embedded, attention_mask=blind)

        projections = [
            (tf.constant(linear.weight.cpu().numpy()), tf.constant(linear.bias.cpu().numpy()))
            for linear in (layer.query, layer.key, layer.value)
        ]
        ours, shares = attention(
            tf.constant(embedded.cpu().numpy()),
            tf.constant(blind.cpu().numpy()),
            projections,
            layer.num_attention_heads,
        )
        errors = {
            "context": float(np.abs(ours.numpy() - context.cpu().numpy()).max()),
            "weights": float(np.abs(shares.numpy() - weights.cpu().numpy()).max()),
        }
        print(f"attention in TensorFlow on torch's embeddings differs by {errors}")
        # Not `>`, which a NaN would pass.
        life.require(
            all(error <= TOLERANCE for error in errors.values()),
            f"attention differs by {errors}, not {TOLERANCE}",
        )
        return errors | {"largestContext": float(context.abs().max())}


def attention(
    x: tf.Tensor, blind: tf.Tensor, projections: Sequence[tuple[tf.Tensor, tf.Tensor]], heads: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Let each token look at the others, in TensorFlow.

    Parameters
    ----------
    x
        Embeddings (batch, n, width).
    blind
        Added to the scores (batch, 1, 1, n): very negative where nobody may look.
    projections
        Weights (width out, width in) and bias of query, key and value, as torch's linear layers hold them.
    heads
        How many parts the width is divided into.

    Returns
    -------
    tuple of tf.Tensor
        The mixed values (batch, n, width), and each token's shares in them (batch, heads, n, n).
    """
    batch, length, width = x.shape

    def project(weight: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        flat = tf.einsum("bni,oi->bno", x, weight) + bias
        return tf.transpose(tf.reshape(flat, [batch, length, heads, width // heads]), [0, 2, 1, 3])

    query, key, value = (project(weight, bias) for weight, bias in projections)
    scores = tf.einsum("bhnd,bhmd->bhnm", query, key) / (width // heads) ** 0.5
    shares = tf.nn.softmax(scores + blind)
    mixed = tf.transpose(tf.einsum("bhnm,bhmd->bhnd", shares, value), [0, 2, 1, 3])
    return tf.reshape(mixed, [batch, length, width]), shares


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("hybrid_nlp", __doc__)
    p.add_argument("--vocabulary", type=int, default=3000, help="word pieces (default: %(default)s)")
    p.add_argument("--steps", type=int, help="of BERT's training (default: 400; smoke: 120)")
    p.add_argument("--batch-size", type=int, default=32, help="sentences a step (default: %(default)s)")
    p.add_argument("--save-every", type=int, default=50, help="steps (default: %(default)s)")
    p.add_argument(
        "--min-gain",
        type=float,
        default=0.2,
        help="exit 1 if context lowers the loss less (default: %(default)s)",
    )
    args = p.parse_args(argv)
    args.steps = args.steps or (120 if args.smoke else 400)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the tokenizers, train, embed and attend, and write what was found.

    Returns
    -------
    int
        The exit code: 0, 1 if a bar was missed, 143 if SIGTERM came first.
    """
    args = parse(argv)
    tensorflow_start.let_memory_grow()  # or nothing is left of it for torch
    pipeline = Pipeline(args)
    parts: dict[str, Callable[[], dict[str, Any]]] = {"tokenizers": pipeline.compare}
    for until in [*range(args.save_every, args.steps, args.save_every), args.steps]:
        parts[f"train to step {until}"] = partial(pipeline.train, until)
    parts |= {"test": pipeline.test, "embeddings": pipeline.embed, "attention": pipeline.attend}
    return life.do_parts(args, parts)


if __name__ == "__main__":
    sys.exit(main())
