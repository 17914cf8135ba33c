"""The clock beside Horovod, TensorFlow, Keras and JAX: what Python sees of them, and what it can't."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.hook_env import HOROVOD, PROGRAMS, hooks_in, rank_env, record, run

from ftjob_protocol.vitals import clock, where

if TYPE_CHECKING:
    from pathlib import Path

    from ftjob_protocol.vitals.clock import StepRecord

pytestmark = [pytest.mark.xdist_group("hooks-clock-others"), pytest.mark.timeout(600)]


def records(folder: Path) -> dict[int, StepRecord]:
    found = clock.read(str(folder / "clock.bin"))
    assert found is not None
    return {entry.step: entry for entry in found.records}


def truth(folder: Path) -> dict[str, list[dict[str, Any]]]:
    lines = (folder / "truth.jsonl").read_text().splitlines()
    return {way["way"]: way["steps"] for way in map(json.loads, lines)}


def env_of(folder: Path, **more: object) -> dict[str, str]:
    hooks = hooks_in(folder / "ftjob-agent.pyz")
    return rank_env(
        hooks,
        folder,
        FTJOB_CLOCK=1,
        FTJOB_WORLD_SIZE=2,
        CUDA_VISIBLE_DEVICES="",
        RANK_PYTHONPATH=hooks,
        **more,
    )


def test_horovods_ranks_are_blocked_while_they_synchronize(tmp_path: Path) -> None:
    env = env_of(tmp_path)
    del env["PYTHONPATH"], env["FTJOB_RANK_DIR"]
    run(env, HOROVOD, tmp_path, PROGRAMS / "clock_horovod.py")
    fast, slow = tmp_path / "rank-00000", tmp_path / "rank-00001"
    for way, least in (("input", 20), ("backward", 12)):
        own = {}
        for folder in (fast, slow):
            found, steps = records(folder), truth(folder)[way][3:]
            entries = [found[step["step"]] for step in steps]
            assert {entry.flags for entry in entries} == {0}
            assert min(entry.collectives for entry in entries) > 0
            own[folder] = min(entry.own_us / 1000 for entry in entries)
            for entry, step in zip(entries, steps, strict=True):
                assert step["inner"] <= entry.input_us / 1000 + 0.01 <= step["input"] + 0.02
                assert entry.own_us / 1000 >= step["inner"] + step["planted"]
        assert own[slow] - own[fast] > 0.6 * least


def test_tensorflows_input_is_seen_in_python_and_its_collectives_are_not(tmp_path: Path) -> None:
    run(env_of(tmp_path), PROGRAMS / "clock_tensorflow.py")
    found, steps = records(tmp_path), truth(tmp_path)["loop"][1:]
    for step in steps:
        entry = found[step["step"]]
        # A generator may run ahead by one batch, so its sleep is not always that of this step.
        assert entry.input_us / 1000 <= step["input"] + 0.01
        assert entry.flags & clock.BLOCKED_UNKNOWN
        assert entry.flags & clock.INSIDE
        assert not entry.flags & clock.INPUT_UNKNOWN
    assert max(found[step["step"]].input_us for step in steps) > 10_000
    traced = [step["step"] for step in steps if found[step["step"]].flags & clock.COMPILE]
    assert traced == [12]
    # Inside of `fit` the input is a part of the graph.
    last = found[max(found)]
    assert max(found) > 100
    assert last.flags & clock.INPUT_UNKNOWN
    unseen = record(tmp_path, "hooks.json")["unseen"]
    assert unseen == ["blocked time: no collective of this program was seen in Python (tensorflow)"]
    assert record(tmp_path, "hooks.json")["notes"] == []


def test_a_program_on_jax_is_looked_at_though_it_has_no_steps(tmp_path: Path) -> None:
    program = tmp_path / "on_jax.py"
    program.write_text("""
import time
import jax

@jax.jit
def step(x):
    return x * 2

x = jax.numpy.ones(4)
end = time.monotonic() + 3
while time.monotonic() < end:
    x = step(x).block_until_ready()
    time.sleep(0.02)
""")
    run(env_of(tmp_path), program)
    seen = where.read(str(tmp_path / "where.json"))
    assert seen is not None
    assert seen.lines[0].text.startswith("on_jax.py:")
    assert (tmp_path / "compiled").exists()
    assert not (tmp_path / "clock.bin").exists()
