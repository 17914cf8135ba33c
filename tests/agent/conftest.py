from __future__ import annotations

import pytest
from support.agent_runs import agents_in


@pytest.fixture
def agents(tmp_path):
    with agents_in(tmp_path) as found:
        yield found
