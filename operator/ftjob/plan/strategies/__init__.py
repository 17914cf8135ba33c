"""One module per strategy. A new one is a file and a line here; the API has its name and its traits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.plan.strategies.horovod import Horovod
from ftjob.plan.strategies.jax import Jax
from ftjob.plan.strategies.mirrored import Mirrored
from ftjob.plan.strategies.multi_worker_mirrored import MultiWorkerMirrored
from ftjob.plan.strategies.parameter_server import ParameterServer
from ftjob.plan.strategies.plain import Plain
from ftjob.plan.strategies.torchrun import Torchrun
from ftjob.plan.strategies.tpu import Tpu

if TYPE_CHECKING:
    from ftjob.api.spec import StrategyName
    from ftjob.plan.strategies.base import Strategy

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
