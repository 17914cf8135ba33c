"""One module per strategy. A new one is a file and a line here; the API has its name and its traits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.strategies.horovod import Horovod
from ftjob.strategies.jax import Jax
from ftjob.strategies.mirrored import Mirrored
from ftjob.strategies.multi_worker_mirrored import MultiWorkerMirrored
from ftjob.strategies.parameter_server import ParameterServer
from ftjob.strategies.plain import Plain
from ftjob.strategies.torchrun import Torchrun
from ftjob.strategies.tpu import Tpu

if TYPE_CHECKING:
    from ftjob.models.spec import StrategyName
    from ftjob.strategies.base import Strategy

_ALL: tuple[Strategy, ...] = (
    Horovod(),
    Mirrored(),
    MultiWorkerMirrored(),
    ParameterServer(),
    Torchrun(),
    Tpu(),
    Jax(),
    Plain(),
)
STRATEGIES: dict[StrategyName, Strategy] = {strategy.name: strategy for strategy in _ALL}
