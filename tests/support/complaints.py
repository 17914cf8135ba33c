"""A few small jobs at once, and what becomes of each: tests/cluster/test_complaints.py."""

from __future__ import annotations

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.agent_runs import wait_for
from support.cluster import Cluster, job, operator_metrics, pods_of
from support.scenario import History, evict, history, nodes, spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "shared"},
    "spec": {
        "storageClassName": "ftjob-shared",
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
    },
}
OUTPUTS = {"claimName": "shared"}
"""In a folder of its own there, each job meets the test."""

NO_SHORT_LIVED_PODS = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-short-lived-pods"},
    "spec": {"hard": {"pods": "0"}, "scopes": ["Terminating"]},
}
"""A quota that only pods with `activeDeadlineSeconds` meet."""

LONGEST_NAME = f"{'tensorflow-':n<40}"
WORKERS_OF_VAST = 24

UNTIL_TOLD = """
import os, time
while not os.path.exists(os.environ["FTJOB_OUTPUTS"] + "/go"):
    time.sleep(0.1)
"""
RING = """
import json, os, shutil
import torch
import horovod.torch as hvd

hvd.init()
total = hvd.allreduce(torch.tensor([10.0 ** hvd.rank()]), op=hvd.Sum).item()
said = {"size": hvd.size(), "total": total, "uid": os.getuid(), "greeting": os.environ.get("GREETING")}
said["patience"] = int(os.environ.get("HOROVOD_GLOO_TIMEOUT_SECONDS", "30"))
said["found"] = [name for name in ("ssh", "sshd", "mpirun") if shutil.which(name)]
with open(f"{os.environ['FTJOB_OUTPUTS']}/said-{hvd.rank()}.json", "w") as file:
    json.dump(said, file)
"""
LATE = "case $(hostname) in *-1) until [ -e /tmp/go ]; do sleep 0.2; done ;; esac"
"""The second pod comes when it is told to."""
LATE_SECONDS = 5
PATIENCE = 120
"""Seconds for what takes one or two on an idle machine."""

ROUGH = """
import os, sys, time
e = os.environ
rank, attempt = int(e["FTJOB_RANK"]), int(e["FTJOB_ATTEMPT"])
print(f"rank {rank} begins attempt {attempt}", flush=True)
while rank == 0 or not os.path.exists(f"{e['FTJOB_OUTPUTS']}/fail-{attempt}"):
    time.sleep(0.1)
print(f"rank {rank} gives up attempt {attempt}", file=sys.stderr, flush=True)
os._exit(137 if attempt == 1 else 3)
"""
"""Rank 0 would go on for ever; rank 1 fails when it is told to."""

SIZES = """
import os, time
e = os.environ
if e["RANK"] == "0":
    with open(e["FTJOB_OUTPUTS"] + "/sizes", "a") as file:
        file.write(e["WORLD_SIZE"] + "\\n")
while not os.path.exists(e["FTJOB_OUTPUTS"] + "/go"):
    time.sleep(0.1)
"""
ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"

TASK = """
import json, os, socket, time

config = json.loads(os.environ["TF_CONFIG"])
workers, index = config["cluster"]["worker"], config["task"]["index"]
server = socket.create_server(("", int(workers[index].rpartition(":")[2])))
host, _, port = workers[1 - index].rpartition(":")
while True:
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
        break
    except OSError:
        time.sleep(0.2)
server.accept()
with open(f"{os.environ['FTJOB_OUTPUTS']}/said-{os.environ['FTJOB_RANK']}.json", "w") as file:
    json.dump(config, file)
"""
"""What TensorFlow's servers do first: each task listens at its own address and connects to the other's."""


def small(name: str, program: str, *, frameworks: bool = False, **spec: Any) -> dict[str, Any]:
    """Return a job of that program, which ends quickly when told to."""
    command = ["python3", "-c", program]
    made = job(name, command, frameworks=frameworks, terminationGracePeriodSeconds=2)
    made["spec"] |= spec
    return made


def trainer(made: dict[str, Any]) -> dict[str, Any]:
    """Return the only container of a job's pods."""
    [found] = made["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def ring() -> dict[str, Any]:
    """Two Horovod ranks on two nodes, one of which is late."""
    made = small("ring", RING, frameworks=True, strategy="Horovod", workers=2, outputs=OUTPUTS)
    trainer(made)["env"] = [{"name": "GREETING", "value": "hello"}]
    pod = made["spec"]["template"]["spec"]
    late = {key: value for key, value in trainer(made).items() if key in {"image", "securityContext"}}
    pod["initContainers"] = [late | {"name": "late", "command": ["sh", "-c", LATE]}]
    pod["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "ring"}},
        }
    ]
    made["spec"]["template"]["metadata"] = {"labels": {"app": "ring"}}
    return made


def rough() -> dict[str, Any]:
    """Two Horovod ranks, with restarts to spare."""
    restart = {"limit": 3, "backoffSeconds": 0}
    spec = {"strategy": "Horovod", "workers": 2, "restart": restart, "outputs": OUTPUTS}
    return small("rough", ROUGH, frameworks=True, **spec)


def elastic() -> dict[str, Any]:
    bounds = {"minWorkers": 1, "maxWorkers": 2}
    return small("elastic", SIZES, strategy="Torchrun", elastic=bounds, outputs=OUTPUTS)


def shortest() -> dict[str, Any]:
    """Return a job with nothing in it that may be left out, but variables of the user's own."""
    made = small("shortest", ENVIRONMENT, strategy="Torchrun")
    trainer(made)["env"] = [
        {"name": "GREETING", "value": "hello"},
        {"name": "PYTHONUNBUFFERED", "value": "0"},
    ]
    made["spec"] = {key: made["spec"][key] for key in ("strategy", "template")}
    return made


def waits() -> dict[str, Any]:
    """Return a job that is suspended, then meets a quota, then runs, and is deleted at its end."""
    made = small("waits", UNTIL_TOLD, suspend=True, ttlSecondsAfterFinished=1, outputs=OUTPUTS)
    made["spec"]["template"]["spec"]["activeDeadlineSeconds"] = 600
    return made


@dataclass(frozen=True)
class Told:
    """What became of a job whose two ranks have each something to say."""

    ended: dict[str, Any]
    pods: list[dict[str, Any]]
    said: list[dict[str, Any]]


def tell(cluster: Cluster, name: str) -> Told:
    ended = cluster.finished(name)
    return Told(ended, pods_of(cluster, name), all_said(cluster.outputs_of(ended), 2))


def tell_ring(cluster: Cluster) -> Told:
    cluster.until("pod", "ring-worker-0-0", "{.status.phase}=Running")
    held = '{.status.initContainerStatuses[?(@.name=="late")].state.running.startedAt}'
    cluster.until("pod", "ring-worker-0-1", held)
    time.sleep(LATE_SECONDS)
    cluster.kubectl("exec", "ring-worker-0-1", "-c", "late", "--", "touch", "/tmp/go")
    return tell(cluster, "ring")


def all_said(outputs: Path, ranks: int) -> list[dict[str, Any]]:
    files = [outputs / f"said-{rank}.json" for rank in range(ranks)]
    return [json.loads(file.read_text()) for file in files if file.exists()]


@dataclass(frozen=True)
class Rough:
    """What became of `rough`, which was evicted, then killed, and then has failed for good."""

    evicted: dict[str, Any]
    """The job when all workers ran again after the eviction of one."""
    pods: list[dict[str, Any]]
    """At that time."""
    killed: dict[str, Any]
    """The job when all workers ran again after exit code 137 of one."""
    ended: dict[str, Any]
    logs: list[str]
    """What each rank has written in all attempts, from the shared volume."""
    samples: list[list[dict[str, Any]]]
    """Of what each rank has used."""


def tell_rough(cluster: Cluster) -> Rough:
    name = "rough"
    cluster.until("ftj", name, "{.status.phase}=Running")
    outputs = cluster.outputs_of(cluster.get("ftj", name))
    begun(outputs, attempt=0)
    evict(cluster, f"{name}-worker-0-1")
    evicted = runs_again(cluster, name, attempt=1)
    begun(outputs, attempt=1)
    first = ("pods", "-l", f"ftjob.dev/job={name},ftjob.dev/attempt=0")
    cluster.kubectl("wait", "--for=delete", *first, "--timeout=120s")
    pods = pods_of(cluster, name)
    (outputs / "fail-1").touch()
    killed = runs_again(cluster, name, attempt=2)
    begun(outputs, attempt=2)
    (outputs / "fail-2").touch()
    cluster.finished(name)
    wait_for(lambda: "Running" not in phases_of(pods_of(cluster, name)), "the end of all pods", PATIENCE)
    cluster.kubectl("delete", "pods", "-l", f"ftjob.dev/job={name}")
    return Rough(
        evicted=evicted,
        pods=pods,
        killed=killed,
        ended=cluster.get("ftj", name),
        logs=[log_of(outputs, rank) for rank in range(2)],
        samples=[read_lines(outputs / f"system/rank-{rank:05}.jsonl") for rank in range(2)],
    )


def phases_of(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["status"]["phase"] for pod in pods}


def runs_again(cluster: Cluster, name: str, *, attempt: int) -> dict[str, Any]:
    """Wait until all workers of an attempt run."""
    cluster.until("ftj", name, f"{{.status.attempt}}={attempt}")
    cluster.until("ftj", name, "{.status.phase}=Running")
    return cluster.get("ftj", name)


def begun(outputs: Path, *, attempt: int) -> None:
    """Wait until both ranks have begun an attempt."""

    def all_have() -> bool:
        return all(f"rank {r} begins attempt {attempt}\n" in log_of(outputs, r) for r in range(2))

    wait_for(all_have, f"the begin of attempt {attempt} in both ranks", PATIENCE)


def log_of(outputs: Path, rank: int) -> str:
    file = outputs / f"logs/rank-{rank:05}.log"
    return file.read_text() if file.exists() else ""


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@dataclass(frozen=True)
class Elastic:
    """What became of `elastic`."""

    sizes: list[int]
    """Of the groups of ranks, one after the other."""
    leader: str
    """The UID of the pod of index 0 when it was alone."""
    ended: dict[str, Any]
    pods: list[dict[str, Any]]


def tell_elastic(cluster: Cluster) -> Elastic:
    name = "elastic"
    cluster.until("ftj", name, "{.status.phase}=Running")
    outputs = cluster.outputs_of(cluster.get("ftj", name))
    leader = cluster.get("pod", f"{name}-worker-0-0")["metadata"]["uid"]

    def sizes() -> list[int]:
        file = outputs / "sizes"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    wait_for(lambda: sizes() == [1], "a group of one rank", PATIENCE)
    cluster.kubectl("scale", f"ftj/{name}", "--replicas=2")
    wait_for(lambda: sizes()[-1] == 2, "a group of two ranks", PATIENCE)
    known = len(sizes())
    cluster.kubectl("delete", "pod", f"{name}-worker-0-1", "--wait=false")
    wait_for(lambda: len(sizes()) > known and sizes()[-1] == 2, "another group of two ranks", PATIENCE)
    (outputs / "go").touch()
    return Elastic(sizes(), leader, cluster.finished(name), pods_of(cluster, name))


@dataclass(frozen=True)
class Waits:
    """What became of `waits`."""

    phases: History
    pending: dict[str, Any]
    running: dict[str, Any]
    line: str
    """What kubectl showed of it meanwhile."""
    left: str
    """Objects that have outlived it."""


def tell_waits(cluster: Cluster) -> Waits:
    name = "waits"
    cluster.apply(NO_SHORT_LIVED_PODS)
    cluster.until("resourcequota", "no-short-lived-pods", "{.status.hard.pods}=0")
    with history(cluster, name) as phases:
        cluster.until("ftj", name, "{.status.phase}=Suspended")
        cluster.kubectl("patch", "ftj", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
        pending = cluster.until("ftj", name, "{.status.phase}=Pending")
        cluster.kubectl("delete", "resourcequota", "no-short-lived-pods")
        running = cluster.until("ftj", name, "{.status.phase}=Running")
        line = cluster.kubectl("get", "ftj", name, "--no-headers")
        (cluster.outputs_of(running) / "go").touch()
        left = left_by(cluster, running)
    return Waits(phases, pending, running, line, left)


def left_by(cluster: Cluster, gone: dict[str, Any]) -> str:
    """Wait until a job was deleted, and what belongs to it; return what has outlived it, or come anew."""
    meta = gone["metadata"]
    cluster.kubectl("wait", "--for=delete", f"ftj/{meta['name']}", "--timeout=120s")
    owned = ("pods,services,secrets,podgroups.scheduling.k8s.io", "-l", f"ftjob.dev/uid={meta['uid']}")
    cluster.kubectl("wait", "--for=delete", *owned, "--timeout=120s")
    named = ("pods,services,secrets,podgroups.scheduling.k8s.io", "-l", f"ftjob.dev/job={meta['name']}")
    return cluster.kubectl("get", f"ftj,{named[0]}", *named[1:], "-o", "name")


@dataclass(frozen=True)
class Brief:
    """What became of `brief`, which fails at once."""

    ended: dict[str, Any]
    left: str


def tell_brief(cluster: Cluster) -> Brief:
    ended = cluster.finished("brief")
    return Brief(ended, left_by(cluster, ended))


@dataclass(frozen=True)
class Gang:
    """What became of `gang`, for which there was room only when another pod had gone."""

    waiting: dict[str, Any]
    pods: list[dict[str, Any]]
    """While it waited."""
    ended: dict[str, Any]


def tell_gang(cluster: Cluster) -> Gang:
    pod = job("x", ["sleep", "600"])["spec"]["template"]["spec"]
    meta = {"name": "in-the-way", "labels": {"app": "gang"}}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod})
    cluster.kubectl("wait", "--for=condition=PodScheduled", "pod/in-the-way", "--timeout=120s")
    cluster.apply(spread("gang", workers=nodes()))
    unplaced = '{.status.conditions[?(@.type=="Running")].reason}=Unschedulable'
    waiting, pods = cluster.until("ftj", "gang", unplaced), pods_of(cluster, "gang")
    cluster.kubectl("delete", "pod", "in-the-way", "--force", "--grace-period=0")
    return Gang(waiting, pods, cluster.finished("gang"))


def tell_named(cluster: Cluster) -> Told:
    """Return also TF_CONFIG of each task, written when it had reached the other."""
    return tell(cluster, LONGEST_NAME)


def tell_shortest(cluster: Cluster) -> dict[str, str]:
    """Return the environment that the only rank had."""
    assert cluster.finished("shortest")["status"]["phase"] == "Succeeded"
    found = json.loads(cluster.kubectl("logs", "shortest-worker-0-0", "-c", "trainer"))
    assert isinstance(found, dict)
    return found


def tell_vast(cluster: Cluster) -> None:
    """Wait until all pods of `vast` are there, which no node takes: so none has to run them."""
    cluster.until("ftj", "vast", f"{{.status.workers}}={WORKERS_OF_VAST}")
    cluster.kubectl("delete", "ftj", "vast", "--wait=false")


@dataclass(frozen=True)
class Stories:
    """What becomes of each job; a test waits for the end of those that it looks at."""

    metrics: dict[str, float]
    """Before all of it."""
    rough: Future[Rough]
    ring: Future[Told]
    elastic: Future[Elastic]
    gang: Future[Gang]
    waits: Future[Waits]
    named: Future[Told]
    shortest: Future[dict[str, str]]
    brief: Future[Brief]
    vast: Future[None]


@contextmanager
def told(cluster: Cluster) -> Iterator[Stories]:
    """Apply all jobs; a thread each tells what becomes of it, so that none waits for another's pods."""
    before = operator_metrics()
    named = small(LONGEST_NAME, TASK, strategy="MultiWorkerMirrored", workers=2, outputs=OUTPUTS)
    vast = job("vast", ["true"], workers=WORKERS_OF_VAST, nodeSelector={"nowhere": "true"})
    brief = small("brief", "raise SystemExit(1)", ttlSecondsAfterFinished=5)
    jobs = (rough(), ring(), elastic(), waits(), named, shortest(), brief, vast)
    cluster.apply(CLAIM, *jobs)
    with ThreadPoolExecutor(max_workers=len(jobs) + 1) as threads:
        yield Stories(
            metrics=before,
            rough=threads.submit(tell_rough, cluster),
            ring=threads.submit(tell_ring, cluster),
            elastic=threads.submit(tell_elastic, cluster),
            gang=threads.submit(tell_gang, cluster),
            waits=threads.submit(tell_waits, cluster),
            named=threads.submit(tell_named, cluster),
            shortest=threads.submit(tell_shortest, cluster),
            brief=threads.submit(tell_brief, cluster),
            vast=threads.submit(tell_vast, cluster),
        )
