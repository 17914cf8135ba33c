"""ParameterServerStrategy: workers that do not wait for each other train one model, kept elsewhere."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from support.tasks import tensorflow_tasks
from workloads.conftest import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workloads.conftest import Program

MODULE = ("-m", "ftjob_workloads.parameter_server_digits")
STEPS = 400


def tasks(start: Callable[..., Program], folder: Path, *args: object, **replicas: int) -> dict[str, Program]:
    """Start all processes of a job; return them by their names."""
    cluster = tensorflow_tasks(**replicas)
    return {
        name: start(folder, *MODULE, *args, name=f"{name}-{len(list(folder.glob('*')))}", env=env)
        for name, env in cluster.items()
    }


def stop_servers(programs: dict[str, Program]) -> None:
    """End what never ends by itself, as ftjob does when the chief has ended."""
    servers = [p for name, p in programs.items() if name.startswith(("ps", "worker"))]
    for server in servers:
        server.process.send_signal(signal.SIGTERM)
    for server in servers:
        server.finish(exit_code=143)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parameter-server")


@pytest.fixture(scope="module")
def stopped(start: Callable[..., Program], folder: Path) -> tuple[dict[str, Program], int]:
    """Let two workers train without an end, and stop all processes at once; return the last step too."""
    programs = tasks(start, folder, "--steps", 1_000_000, chief=1, worker=2, ps=1)
    chief = programs["chief-0"]
    deadline = time.monotonic() + TIMEOUT
    while "step 40 " not in chief.output():
        assert chief.process.poll() is None, chief.output()
        assert time.monotonic() < deadline, chief.output()
        time.sleep(0.1)
    for program in programs.values():
        program.process.send_signal(signal.SIGTERM)
    for program in programs.values():
        program.finish(exit_code=143)
    return programs, int(chief.output().rpartition("stopped at step ")[2])


@pytest.fixture(scope="module")
def resumed(
    start: Callable[..., Program], folder: Path, stopped: tuple[dict[str, Program], int]
) -> dict[str, Program]:
    """Go on to the end, with an evaluator beside."""
    _, step = stopped
    programs = tasks(start, folder, "--steps", step + STEPS, chief=1, worker=2, ps=1, evaluator=1)
    programs["chief-0"].finish()
    programs["evaluator-0"].finish()
    stop_servers(programs)
    return programs


def test_sigterm_to_all_at_once_still_saves_and_the_next_run_goes_on_from_there(
    stopped: tuple[dict[str, Program], int], resumed: dict[str, Program]
) -> None:
    _, step = stopped
    assert step >= 40
    result = resumed["chief-0"].result()
    assert (result["startStep"], result["steps"]) == (step, step + STEPS)


def test_every_worker_has_done_steps_and_no_count_is_lost(resumed: dict[str, Program]) -> None:
    result = resumed["chief-0"].result()
    assert result["cluster"] == {"chief": 1, "worker": 2, "ps": 1}
    assert len(result["stepsOfWorker"]) == 2
    assert min(result["stepsOfWorker"]) > 0
    assert sum(result["stepsOfWorker"]) == result["steps"]


def test_all_variables_live_on_the_parameter_server(resumed: dict[str, Program]) -> None:
    devices = resumed["chief-0"].result()["devices"]
    assert len([name for name in devices if name.endswith(("kernel", "bias"))]) == 6
    assert {"sgd/iteration", "steps_of_worker"} <= set(devices)
    assert set(devices.values()) == {"/job:ps/replica:0/task:0/device:CPU:0"}


def test_they_reach_the_stated_accuracy(resumed: dict[str, Program]) -> None:
    result = resumed["chief-0"].result()
    assert result["testAccuracy"] >= 0.93
    assert result["losses"][-1] < 0.5


def test_the_evaluator_has_tested_the_last_checkpoint(resumed: dict[str, Program]) -> None:
    chief, evaluator = (resumed[name].result(rank) for name, rank in (("chief-0", 0), ("evaluator-0", 4)))
    assert evaluator["accuracies"][str(chief["steps"])] == chief["testAccuracy"]


def test_a_worker_that_the_chief_does_not_know_is_missed(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    # The job has two workers; each chief with a TF_CONFIG of its own would train with one.
    short = ("--workers", 2, "--steps", 40, "--min-accuracy", 0)
    programs = tasks(start, tmp_path, *short, chief=1, worker=1, ps=1)
    chief = programs["chief-0"].finish(exit_code=1)
    stop_servers(programs)
    assert chief.result()["stepsOfWorker"] == [40, 0]
    assert "these workers have done no step: [1]" in chief.output()


def test_without_tf_config_nothing_is_trained(start: Callable[..., Program], tmp_path: Path) -> None:
    alone = start(tmp_path, *MODULE).finish(exit_code=1)
    assert "TF_CONFIG names no chief" in alone.output()
    assert not (tmp_path / "results").exists()
