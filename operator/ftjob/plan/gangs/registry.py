"""Every gang scheduler. A new one is a file and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.plan.gangs.coscheduling import Coscheduling
from ftjob.plan.gangs.native import Native
from ftjob.plan.gangs.volcano import Volcano

if TYPE_CHECKING:
    from ftjob.models.spec import GangMode
    from ftjob.plan.gangs.base import Gang

_ALL: tuple[Gang, ...] = (Native(), Volcano(), Coscheduling())

GANGS: dict[GangMode, Gang] = {gang.mode: gang for gang in _ALL}

BY_VERSION: dict[str, Gang] = {version: gang for gang in _ALL for version in gang.versions}
"""By the API version of their PodGroup."""
