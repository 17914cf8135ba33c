"""The encoder of "Attention Is All You Need" (Vaswani et al. 2017) as a masked model of characters."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ftjob_workloads import text
from ftjob_workloads.attention import MultiHeadAttention, padding_mask


class SinusoidalPositions(nn.Module):
    """Add waves of different length, so that a shift is a rotation (Vaswani et al. 2017, section 3.5).

    Parameters
    ----------
    length
        Longest line.
    width
        Features of a token; even.
    base
        The longest wave has 2 pi times so many tokens. The paper's 10,000 is for long texts: in a short line
        most of those features would be the same everywhere, and it takes twice the steps to learn.
    """

    def __init__(self, length: int, width: int, base: float = 100.0) -> None:
        super().__init__()
        angle = torch.arange(length)[:, None] * torch.exp(
            torch.arange(0, width, 2) * (-math.log(base) / width)
        )
        waves = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
        self.register_buffer("waves", waves, persistent=False)
        self.waves: Tensor

    def forward(self, tokens: Tensor) -> Tensor:
        """Return ``tokens`` (batch, n, width) with their places added."""
        return tokens + self.waves[: tokens.shape[1]]


class LearnedPositions(nn.Module):
    """Add a vector to each place that is learned like any other weight."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(length, width) * 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return ``tokens`` (batch, n, width) with their places added."""
        return tokens + self.places[: tokens.shape[1]]


def positions(kind: str, length: int, width: int) -> nn.Module:
    """Make what adds the places: ``sinusoidal``, ``learned`` or ``none``."""
    match kind:
        case "sinusoidal":
            return SinusoidalPositions(length, width)
        case "learned":
            return LearnedPositions(length, width)
        case _:
            return nn.Identity()


class Layer(nn.Module):
    """Attention, then a small network for each token; norms come first, which trains without tricks."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, heads)
        # Keys that begin as the queries make tokens look at what is like them, hence near, at once
        # (after Trockman and Kolter 2023, "Mimetic initialization of self-attention layers").
        query, key, _ = self.attention.project_in.weight.data.chunk(3)
        key.copy_(query.mul_(2.0))
        self.each = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return what the tokens (batch, n, width) are in their context."""
        tokens = tokens + self.attention(self.before_attention(tokens), mask)
        together: Tensor = tokens + self.each(tokens)
        return together


class MaskedLM(nn.Module):
    """An encoder that guesses masked characters."""

    def __init__(self, length: int, width: int, heads: int, depth: int, kind: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(text.VOCABULARY, width)
        nn.init.normal_(self.embed.weight, std=0.5)  # weaker than the waves: places are learned from first
        self.positions = positions(kind, length, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.guess = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, text.VOCABULARY))

    def forward(self, tokens: Tensor, asked: Tensor) -> Tensor:
        """Guess.

        Parameters
        ----------
        tokens
            (batch, n), with `text.MASK` and `text.PAD`.
        asked
            (batch, n), True where an answer is wanted: all others would cost, and be thrown away.

        Returns
        -------
        Tensor
            Logits (number of True, vocabulary).
        """
        mask = padding_mask(tokens != text.PAD)
        hidden = self.positions(self.embed(tokens))
        for layer in self.layers:
            hidden = layer(hidden, mask)
        logits: Tensor = self.guess(hidden[asked])
        return logits
