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


COUNTS_ITSELF = """
import json, os
for epoch in range(1, 4):
    loss = sum(1 / (batch * epoch) for batch in range(1, 6))
    print("step", epoch, loss, flush=True)
    if "FTJOB_PROGRESS_FILE" in os.environ:
        with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
            file.write(json.dumps({"step": epoch, "totalSteps": 3, "metrics": {"loss": loss}}) + "\\n")
"""
"""Trains by a library that no hook knows."""
WRAPPED = """
class Sharded(torch.optim.Optimizer):
    def __init__(self, parts):
        self.parts = parts
        super().__init__([torch.zeros(1)], {})

    def step(self, closure=None):
        for part in self.parts:
            part.step()

parts = [torch.optim.Adam([parameter]) for parameter in net.parameters()]
optimizer = Sharded(parts)
for step in range(8):
    value = loss()
    if step != 5:  # a step that is skipped, as after an overflow
        optimizer.step()
    print("step", step, value.item(), flush=True)
"""
"""A wrapper that steps several optimizers, as ZeRO's do."""


@pytest.mark.parametrize(
    ("script", "steps"), [(COUNTS_ITSELF, 3), (TWO + WRAPPED, 7)], ids=["counts itself", "wrapper"]
)
def test_a_step_counts_once_and_as_the_program_says(tmp_path: Path, script: str, steps: int) -> None:
    program = Program(command=("python", "train.py"), files={"train.py": script}, own="^step")
    assert same(program, tmp_path).status["progress"]["step"] == steps
