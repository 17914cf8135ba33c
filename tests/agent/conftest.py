from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.agent_runs import agents_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.agent_runs import Agents


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    with agents_in(tmp_path) as found:
        yield found
