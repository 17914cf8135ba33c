"""Programs that profile themselves while a capture of ftjob's is due: theirs is whole, as without ftjob."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.differential import Program, same

if TYPE_CHECKING:
    from pathlib import Path

TRAINS = """
import torch

torch.manual_seed(1)
torch.set_num_threads(1)
net = torch.nn.Linear(16, 16)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

def train(step):
    optimizer.zero_grad()
    loss = net(torch.ones(4, 16)).square().mean()
    loss.backward()
    optimizer.step()
    print("step", step, loss.item(), flush=True)

def seen(events):
    return sorted({event.key for event in events if event.key.startswith("aten::addmm")})
"""
IN_THE_MIDDLE = """
from torch.profiler import profile, schedule
traces = []
with profile(
    schedule=schedule(wait=2, warmup=1, active=3, repeat=3),
    on_trace_ready=lambda own: traces.append(seen(own.key_averages())),
) as own:
    for step in range(20):
        train(step)
        own.step()
print(traces)
"""
TWICE_BY_THE_LEGACY_ONE = """
for step in range(20):
    if step in (1, 6, 13):
        with torch.autograd.profiler.profile(record_shapes=True) as own:
            train(step)
        print(seen(own.key_averages()))
    else:
        train(step)
"""
BY_PYTHON = """
import cProfile, pstats
own = cProfile.Profile()
own.enable()
for step in range(20):
    train(step)
own.disable()
calls = {key[2]: value[0] for key, value in pstats.Stats(own).stats.items()}
print([calls["train"], calls["zero_grad"]])
"""


@pytest.mark.parametrize(
    "script", [IN_THE_MIDDLE, TWICE_BY_THE_LEGACY_ONE, BY_PYTHON], ids=["schedule", "legacy", "cProfile"]
)
def test_a_programs_own_profile_is_whole(tmp_path: Path, script: str) -> None:
    schedule = {"skipFirst": 2, "wait": 1, "warmup": 1, "active": 6, "repeat": 1}
    program = Program(
        command=("python", "train.py"),
        files={"train.py": TRAINS + script},
        spec={"outputs": {}, "profiling": {"mode": "Scheduled", "schedule": schedule}},
        own=r"^(step|\[)",
    )
    outcome = same(program, tmp_path)
    assert outcome.code == 0
    assert outcome.status["progress"]["step"] == 20
