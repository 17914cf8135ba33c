"""TPUStrategy's program: what it makes of a pod's environment, and what it does without a TPU."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ftjob_workloads.tpu_host import TpuHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.tpu_tensorflow")
STEPS = 60
STOP_AT = 40  # the second epoch of 22 steps
# Small steps: after long ones rounding alone leads two runs apart.
SHORT = ("--precision", "float32", "--learning-rate", 0.01, "--steps", STEPS, "--steps-per-call", 20)
ANY = ("--min-accuracy", 0)
NO_TPU = "no TPU (no chip in /dev, and KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS is not set)"


@pytest.fixture(scope="module")
def programs(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """Start all of them at once: most of their time goes into importing TensorFlow."""
    folder = tmp_path_factory.mktemp("tpu")
    stopping = (HERE / "sigterm_at_call.py", "tpu_tensorflow", "life.report", STOP_AT // 20)
    return {
        "smoke": start(folder / "smoke", *MODULE, "--smoke"),
        "one": start(folder / "one", *MODULE, "--devices", 1, *SHORT, *ANY),
        "two": start(folder / "two", *MODULE, "--devices", 2, *SHORT, *ANY),
        "stopped": start(folder / "resumed", *stopping, *SHORT, *ANY),
    }


def ports(count: int) -> list[str]:
    """Return addresses of this machine that nothing listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return found


@pytest.fixture(scope="module")
def hosts(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Program]:
    """Start two hosts of a slice, whose chips alone are not real."""
    folder = tmp_path_factory.mktemp("hosts")
    names = ",".join(ports(2))
    driver, server = (
        start(
            folder / f"worker-{worker}",
            HERE / "tpu_tensorflow_until_chips.py",
            env={"TPU_WORKER_HOSTNAMES": names, "TPU_WORKER_ID": str(worker)},
        )
        for worker in range(2)
    )
    return driver, server


def test_without_a_tpu_one_line_says_so_and_the_cpu_learns(programs: dict[str, Program]) -> None:
    smoke = programs["smoke"].finish()
    assert smoke.output().count("no TPU") == 1
    assert f"{NO_TPU}: training on 2 CPU devices\n" in smoke.output()
    assert (smoke.result()["device"], smoke.result()["replicas"]) == ("CPU", 2)
    assert smoke.result()["steps"] == 220
    assert smoke.result()["testAccuracy"] >= 0.95


def test_activations_are_bfloat16_and_weights_are_not(programs: dict[str, Program]) -> None:
    smoke, two = programs["smoke"].finish().result(), programs["two"].finish().result()
    assert (smoke["activations"], smoke["weights"]) == (["bfloat16"], ["float32"])
    assert (two["activations"], two["weights"]) == (["float32"], ["float32"])
    # The same weights and batch: the first losses differ, by no more than 8 bits of mantissa can.
    assert 0 < abs(smoke["losses"][0] - two["losses"][0]) < 0.05


def test_batches_have_one_shape_and_the_remainder_of_an_epoch_is_dropped(
    programs: dict[str, Program],
) -> None:
    smoke = programs["smoke"].finish().result()
    assert smoke["batchShape"] == [64, 8, 8, 1]
    assert smoke["droppedPerEpoch"] == 1437 % 64
    assert len(smoke["losses"]) == 220
    assert smoke["traces"] == 1, "ten epochs, one graph"
    assert smoke["tested"] == 360, "the last test batch is filled up"
    assert (smoke["testAccuracy"] * 360) % 1 == pytest.approx(0, abs=1e-6)


def test_two_devices_have_the_losses_of_one(programs: dict[str, Program]) -> None:
    one, two = programs["one"].finish().result(), programs["two"].finish().result()
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert len(one["losses"]) == STEPS
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-3)


def test_sigterm_saves_and_the_next_run_goes_on(
    programs: dict[str, Program], start: Callable[..., Program]
) -> None:
    stopped = programs["stopped"].finish(exit_code=143)
    assert f"stopped at step {STOP_AT}, saved" in stopped.output()
    resumed = start(stopped.folder, *MODULE, *SHORT, *ANY, name="second").finish().result()
    assert (resumed["startStep"], resumed["steps"]) == (STOP_AT, STEPS)
    two = programs["two"].finish().result()
    np.testing.assert_allclose(resumed["losses"], two["losses"][STOP_AT:], rtol=1e-3)


def test_worker_0_drives_the_servers_of_all_hosts(hosts: tuple[Program, Program]) -> None:
    driver, server = hosts
    driver.finish()
    assert "no TPU" not in driver.output()
    # What it would initialize next: computed on each host, by way of its server.
    assert "host 0: /job:worker/replica:0/task:0/device:CPU:0" in driver.output()
    assert "host 1: /job:worker/replica:0/task:1/device:CPU:0" in driver.output()
    assert "worker 1 serves" in server.output()
    assert server.process.poll() is None
    server.process.send_signal(signal.SIGTERM)
    server.finish(exit_code=143)


def test_a_demanded_tpu_that_does_not_answer_is_an_error(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    (address,) = ports(1)
    env = {"KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS": f"grpc://{address}"}
    demanded = start(tmp_path / "tpu", *MODULE, "--device", "tpu", env=env)
    offered = start(tmp_path / "auto", *MODULE, "--steps", 1, *ANY, env=env)
    other = start(tmp_path / "other", *MODULE, env=env | {"TPU_WORKER_ID": "1"})
    assert f"no TPU: {address} does not answer" in demanded.finish(exit_code=1).output()
    assert f"no TPU ({address} does not answer): training on 2 CPU devices" in offered.finish().output()
    assert "the first worker trains" in other.finish().output()


def look(folder: Path, *devices: str, **env: str) -> TpuHost:
    for device in devices:
        (folder / device).parent.mkdir(parents=True, exist_ok=True)
        (folder / device).touch()
    return TpuHost.look(env, folder)


def test_chips_are_seen_by_their_device_files(tmp_path: Path) -> None:
    assert look(tmp_path / "none", "null", "vfio/vfio").chips == 0
    assert look(tmp_path / "v4", "accel0", "accel1", "accel2", "accel3").chips == 4
    assert look(tmp_path / "v5e", "vfio/vfio", "vfio/0", "vfio/1").chips == 2


def test_one_host_opens_its_chips_and_many_have_servers(tmp_path: Path) -> None:
    alone = look(tmp_path, "accel0", TPU_WORKER_HOSTNAMES="localhost", TPU_WORKER_ID="0")
    assert (alone.servers, alone.worker) == ((), 0)
    second = look(tmp_path, "accel0", TPU_WORKER_HOSTNAMES="t-0.t,t-1.t", TPU_WORKER_ID="1")
    assert (second.servers, second.worker) == (("t-0.t:8470", "t-1.t:8470"), 1)


def test_legacy_endpoints_come_first_and_may_lack_their_port(tmp_path: Path) -> None:
    env = {"KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS": "grpc://10.0.0.2:8471, 10.0.0.3"}
    assert look(tmp_path, "accel0", **env).servers == ("10.0.0.2:8471", "10.0.0.3:8470")


def test_chips_without_their_library_are_no_tpu(tmp_path: Path) -> None:
    assert look(tmp_path, "accel0").unusable() == "1 chips, but no libtpu: this image was built for the CPU"
