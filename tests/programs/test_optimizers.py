"""Programs with several optimizers, under a watchdog: a healthy one goes on, whichever of them steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.differential import Program, same

if TYPE_CHECKING:
    from pathlib import Path

TWO = """
import time, torch
torch.manual_seed(1)
torch.set_num_threads(1)
net = torch.nn.Linear(4, 4)
first = torch.optim.SGD(net.parameters(), lr=0.1)
second = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=3)

def loss():
    first.zero_grad()
    value = net(torch.ones(2, 4)).square().mean()
    value.backward()
    return value
"""
ONE_AFTER_THE_OTHER = """
for step in range(3):
    print("step", step, loss().item(), flush=True)
    first.step()
for step in range(3, 60):
    print("step", step, float(second.step(loss)), flush=True)
    time.sleep(0.4)
"""
IN_TURN = """
for step in range(60):
    first.step(loss) if step % 2 else second.step(loss)
    print("step", step, loss().item(), flush=True)
    time.sleep(0.4)
"""
"""As a generator and its discriminator; a closure is called several times a step."""


@pytest.mark.parametrize(
    ("script", "steps"), [(ONE_AFTER_THE_OTHER, 60), (IN_TURN, 30)], ids=["takes over", "in turn"]
)
def test_any_optimizer_keeps_a_program_alive(tmp_path: Path, script: str, steps: int) -> None:
    program = Program(
        command=("python", "train.py"),
        files={"train.py": TWO + script},
        spec={"watchdog": {"hangSeconds": 20}},
        own="^step",
    )
    outcome = same(program, tmp_path)
    assert outcome.code == 0
    assert outcome.status["progress"]["step"] == steps
