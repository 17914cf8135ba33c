"""What ranks find in their environment, by strategy: `ftjob run` with a script that writes it down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.local_run import plain_job, run

if TYPE_CHECKING:
    from pathlib import Path

MEETS_THE_OTHERS = """
import json, os, socket
print("ENV", json.dumps(dict(os.environ)))
rank, size = int(os.environ["FTJOB_RANK"]), int(os.environ["FTJOB_WORLD_SIZE"])
host, port = {address}
if rank == 0:
    with socket.create_server((host, int(port))) as server:
        others = [server.accept()[0] for _ in range(size - 1)]
        total = sum(int(other.makefile().readline()) for other in others)
        for other in others:
            other.sendall(b"%d\\n" % total)
else:
    while True:
        try:
            with socket.create_connection((host, int(port))) as peer:
                peer.sendall(b"%d\\n" % rank)
                total = int(peer.makefile().readline())
            break
        except ConnectionRefusedError:
            continue
print("TOTAL", total)
"""
"""Ranks meet at the address that their strategy gives them, and add up their numbers."""


def strategy_job(strategy: str, script: str, **spec: Any) -> dict[str, Any]:
    job = plain_job(script)
    job["spec"] |= {"strategy": strategy, **spec}
    if "processesPerWorker" not in spec:
        del job["spec"]["processesPerWorker"]
    return job


def said(log: str, word: str) -> Any:
    """Return the JSON that a rank has printed behind a word."""
    (line,) = [line for line in log.splitlines() if line.startswith(f"{word} ")]
    return json.loads(line.partition(" ")[2])


def met(strategy: str, address: str, folder: Path, ranks: int, **spec: Any) -> list[dict[str, str]]:
    """Let ranks meet at an address, given as Python for host and port; return the environment of each."""
    ran = run(strategy_job(strategy, MEETS_THE_OTHERS.format(address=address), **spec), folder)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert [said(ran.log(rank), "TOTAL") for rank in range(ranks)] == [sum(range(ranks))] * ranks
    return [said(ran.log(rank), "ENV") for rank in range(ranks)]


@pytest.mark.parametrize(("workers", "processes"), [(2, 2), (1, 1)])
def test_torchrun(tmp_path: Path, workers: int, processes: int) -> None:
    address = 'os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]'
    ranks = workers * processes
    found = met("Torchrun", address, tmp_path, ranks, workers=workers, processesPerWorker=processes)
    for rank, env in enumerate(found):
        group, local = divmod(rank, processes)
        expected = {
            "MASTER_ADDR": "127.0.0.1",
            "RANK": rank,
            "WORLD_SIZE": ranks,
            "LOCAL_RANK": local,
            "LOCAL_WORLD_SIZE": processes,
            "GROUP_RANK": group,
            "GROUP_WORLD_SIZE": workers,
            "ROLE_NAME": "default",
            "ROLE_RANK": rank,
            "ROLE_WORLD_SIZE": ranks,
            "TORCHELASTIC_RUN_ID": found[0]["TORCHELASTIC_RUN_ID"],
            "TORCHELASTIC_RESTART_COUNT": 0,
            "TORCHELASTIC_MAX_RESTARTS": 0,
            "TORCHELASTIC_USE_AGENT_STORE": False,
            "TORCH_NCCL_ASYNC_ERROR_HANDLING": 1,
            "PET_NNODES": workers,
            "PET_NPROC_PER_NODE": processes,
            "PET_NODE_RANK": group,
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": env["MASTER_PORT"],
            "GLOO_SOCKET_IFNAME": "lo",
            "NCCL_SOCKET_IFNAME": "=lo",
        }
        assert {name: env.get(name) for name in expected} == {k: str(v) for k, v in expected.items()}


def test_jax(tmp_path: Path) -> None:
    address = 'os.environ["JAX_COORDINATOR_ADDRESS"].split(":")'
    found = met("JAX", address, tmp_path, 3, workers=3)
    assert [env["JAX_PROCESS_ID"] for env in found] == ["0", "1", "2"]
    assert {env["JAX_NUM_PROCESSES"] for env in found} == {"3"}
    assert "JAX_LOCAL_DEVICE_IDS" not in found[0]


def test_multi_worker_mirrored(tmp_path: Path) -> None:
    address = 'json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"][0].split(":")'
    found = met("MultiWorkerMirrored", address, tmp_path, 2, workers=2)
    configs = [json.loads(env["TF_CONFIG"]) for env in found]
    assert [config["task"] for config in configs] == [{"type": "worker", "index": i} for i in range(2)]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    servers = configs[0]["cluster"]["worker"]
    assert len(set(servers)) == 2  # each task serves, and all are on one machine
    assert all(server.startswith("127.0.0.1:") for server in servers)


SERVES_FOR_EVER = """
import json, os, signal, socket, time
config, rank = json.loads(os.environ["TF_CONFIG"]), os.environ["FTJOB_RANK"]
role, index = config["task"]["type"], config["task"]["index"]
if role in {"worker", "ps"}:
    host, _, port = config["cluster"][role][index].partition(":")
    server = socket.create_server((host, int(port)))
os.chdir(os.environ["FTJOB_OUTPUTS"])
with open(f"{rank}.tmp", "w") as file:
    json.dump(config, file)
os.rename(f"{rank}.tmp", f"{rank}.json")
if role != "chief":
    signal.pause()
while not all(os.path.exists(f"{rank}.json") for rank in range(int(os.environ["FTJOB_WORLD_SIZE"]))):
    time.sleep(0.01)
for address in config["cluster"]["worker"] + config["cluster"]["ps"]:
    host, _, port = address.partition(":")
    socket.create_connection((host, int(port))).close()
with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
    file.write(json.dumps({"step": 5}) + "\\n")
"""
"""Workers and parameter servers listen where TF_CONFIG says; the chief reaches them, and ends."""


def test_parameter_servers_are_stopped_when_the_chief_succeeds(tmp_path: Path) -> None:
    roles = {"ps": {"replicas": 2}, "evaluator": {"replicas": 1}}
    ran = run(strategy_job("ParameterServer", SERVES_FOR_EVER, workers=2, roles=roles), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    configs = [json.loads((ran.outputs / f"{rank}.json").read_text()) for rank in range(6)]
    assert [(config["task"]["type"], config["task"]["index"]) for config in configs] == [
        ("chief", 0), ("worker", 0), ("worker", 1), ("ps", 0), ("ps", 1), ("evaluator", 0),
    ]  # fmt: skip
    cluster = configs[0]["cluster"]
    assert all(config["cluster"] == cluster for config in configs)
    assert {role: len(servers) for role, servers in cluster.items()} == {"chief": 1, "worker": 2, "ps": 2}
    assert len({server for servers in cluster.values() for server in servers}) == 5
    counted = {role["name"]: (role["succeeded"], role["failed"]) for role in ran.status["roles"]}
    assert counted == {"chief": (1, 0), "worker": (0, 0), "ps": (0, 0), "evaluator": (0, 0)}
    assert ran.status["progress"]["step"] == 5


def test_a_parameter_server_that_fails_is_named(tmp_path: Path) -> None:
    script = """
import os, signal
if os.environ["FTJOB_ROLE"] == "ps":
    raise ValueError("no memory for the variables")
signal.pause()
"""
    ran = run(strategy_job("ParameterServer", script), tmp_path)
    assert ran.code == 1
    failure = ran.status["failure"]
    assert (failure["role"], failure["index"], failure["rank"]) == ("ps", 0, 2)
    assert failure["message"].endswith("ValueError: no memory for the variables")


def test_a_role_runs_its_own_template(tmp_path: Path) -> None:
    chief = plain_job("import os; print('chief', os.environ['MINE'])", env=[{"name": "MINE", "value": "yes"}])
    roles = {"chief": {"template": chief["spec"]["template"]}}
    ran = run(strategy_job("ParameterServer", "import signal; signal.pause()", roles=roles), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert "chief yes" in ran.log(0)


V5E = {"accelerator": "tpu-v5-lite-podslice", "topology": "2x4", "chipsPerWorker": 4}


def tpu_job(script: str, **tpu: Any) -> dict[str, Any]:
    job = strategy_job("TPU", script, tpu=tpu)
    del job["spec"]["workers"]
    return job


def test_tpu_slices(tmp_path: Path) -> None:
    address = 'os.environ["JAX_COORDINATOR_ADDRESS"].split(":")'
    job = tpu_job(MEETS_THE_OTHERS.format(address=address), library="JAX", slices=2, **V5E)
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    found = [said(ran.log(rank), "ENV") for rank in range(4)]
    assert [(env["MEGASCALE_SLICE_ID"], env["TPU_WORKER_ID"]) for env in found] == [
        ("0", "0"), ("0", "1"), ("1", "0"), ("1", "1"),
    ]  # fmt: skip
    assert {env["TPU_WORKER_HOSTNAMES"] for env in found} == {"127.0.0.1,127.0.0.1"}
    assert {env["MEGASCALE_NUM_SLICES"] for env in found} == {"2"}
    assert {env["MEGASCALE_COORDINATOR_ADDRESS"] for env in found} == {
        f"127.0.0.1:{found[0]['MEGASCALE_PORT']}"
    }


@pytest.mark.parametrize(
    "tpu",
    [
        {"library": "TorchXLA", **V5E, "topology": "2x2"},
        {"library": "TensorFlow", "endpoints": ["grpc://10.0.0.2:8470"]},
    ],
    ids=["torch-xla", "endpoints"],
)
def test_nothing_looks_for_a_tpu_that_is_not_there(tmp_path: Path, tpu: dict[str, Any]) -> None:
    script = 'import json, os; print("ENV", json.dumps(dict(os.environ)))'
    ran = run(tpu_job(script, **tpu), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    env = said(ran.log(0), "ENV")
    assert not {"PJRT_DEVICE", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS"} & set(env)
    assert ("TPU_WORKER_ID" in env) is ("endpoints" not in tpu)
