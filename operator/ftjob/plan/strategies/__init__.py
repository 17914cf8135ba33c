"""One module per strategy, all the same small protocol. A new one is a file and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.plan.strategies.horovod import Horovod
from ftjob.plan.strategies.mirrored import Mirrored
from ftjob.plan.strategies.plain import Plain

if TYPE_CHECKING:
    from ftjob.api.spec import StrategyName
    from ftjob.plan.strategies.base import Strategy

_ALL: tuple[Strategy, ...] = (Horovod(), Mirrored(), Plain())
STRATEGIES: dict[StrategyName, Strategy] = {strategy.name: strategy for strategy in _ALL}
