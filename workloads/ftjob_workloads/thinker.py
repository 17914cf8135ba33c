"""A torch network that thinks about each image for as long as it is unsure, and its activation function."""

from __future__ import annotations

# torch leaves `apply()` and its like without types.
# mypy: allow-untyped-calls
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ftjob_workloads import digits


class Swish(torch.autograd.Function):
    """x * sigmoid(x), which keeps only x: written plainly it keeps the sigmoid as well."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Return x * sigmoid(x)."""
        return x * torch.sigmoid(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep what the backward pass needs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Multiply by the derivative; made of torch's operations, so it can be derived again."""
        (x,) = ctx.saved_tensors
        sigmoid = torch.sigmoid(x)
        result: Tensor = gradient * sigmoid * (1 + x * (1 - sigmoid))
        return result


def swish(x: Tensor) -> Tensor:
    """Call `Swish`, which has no types of its own."""
    y: Tensor = Swish.apply(x)
    return y


@dataclass(frozen=True)
class Answer:
    """What the network says of each image: logits (batch, 10), and after how many rounds (batch,)."""

    logits: Tensor
    rounds: Tensor


class Thinker(nn.Module):
    """Applies one block to an image's state again and again, until it is sure of the answer.

    Parameters
    ----------
    sure
        Probability of the best answer that ends the thinking.
    most
        Rounds after which it ends anyway.
    """

    def __init__(self, sure: float, most: int, width: int = 48) -> None:
        super().__init__()
        self.sure = sure
        self.most = most
        self.look = nn.Linear(64, width)
        self.think = nn.Linear(width, width)
        self.answer = nn.Linear(width, digits.CLASSES)

    def forward(self, images: Tensor) -> Answer:
        """Think about images (batch, 8, 8, 1); the sure ones leave the batch."""
        state = self.look(images.flatten(1))
        rows = torch.arange(len(images), device=images.device)
        rounds = torch.zeros_like(rows)
        left: list[Tensor] = []
        logits: list[Tensor] = []
        for number in range(1, self.most + 1):
            state = state + self.think(swish(state))
            said = self.answer(swish(state))
            ends = (said.detach().softmax(-1).amax(-1) >= self.sure) | (number == self.most)
            logits.append(said[ends])
            left.append(rows[ends])
            rounds[rows[ends]] = number
            state, rows = state[~ends], rows[~ends]
            if not len(rows):
                break
        order = torch.cat(left).argsort()
        return Answer(torch.cat(logits)[order], rounds)
