"""One module per strategy. A new one is a file and a line here; all else is derived from `STRATEGIES`."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftjob.strategies.base import Strategy

_CLASSES = (
    "ftjob.strategies.horovod:Horovod",
    "ftjob.strategies.mirrored:Mirrored",
    "ftjob.strategies.multi_worker_mirrored:MultiWorkerMirrored",
    "ftjob.strategies.parameter_server:ParameterServer",
    "ftjob.strategies.torchrun:Torchrun",
    "ftjob.strategies.tpu:Tpu",
    "ftjob.strategies.jax:Jax",
    "ftjob.strategies.plain:Plain",
)
"""Module and class of each strategy, in the order in which the API lists them."""


def _load(name: str) -> Strategy:
    strategy: Strategy = resolve_name(name)()
    return strategy


STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in map(_load, _CLASSES)}
"""Every strategy by its name in the API."""
