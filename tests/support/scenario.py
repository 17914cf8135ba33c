"""Scenarios in the kind cluster: programs that fail on purpose, a job's history, and what it must leave."""

from __future__ import annotations

import json
import subprocess
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from support.cluster import CONTEXT, Cluster, job, pods_of

if TYPE_CHECKING:
    from collections.abc import Iterator


SYSTEM = Cluster("ftjob-system")
"""Where the operator lives."""

FAIL_ONCE = """
import os, sys, time
rank, attempt = int(os.environ["FTJOB_RANK"]), int(os.environ["FTJOB_ATTEMPT"])
if attempt == 0 and rank == int(sys.argv[1]):
    time.sleep(1)
    sys.exit(int(sys.argv[2]))
time.sleep(2 if attempt else 600)
"""
"""Rank argv[1] exits with code argv[2] in attempt 0, while the others wait; attempt 1 ends well."""

UNTIL_RESTARTED = """
import os, time
time.sleep(3 if int(os.environ["FTJOB_ATTEMPT"]) else 600)
"""
"""Attempt 0 goes on until something ends it; attempt 1 ends well."""

HELD = "import os, time\nwhile not os.path.exists('/tmp/go'): time.sleep(0.2)"
"""Goes on until `let_go`."""

HEARTBEATS = """
import os, socket, time
attempt = int(os.environ["FTJOB_ATTEMPT"])
end = time.monotonic() + (600 if attempt == 0 else 5)
while time.monotonic() < end:
    name = os.path.join(os.environ["FTJOB_OUTPUTS"], f"beats-{attempt}-{os.environ['FTJOB_INDEX']}")
    with open(name, "a") as file:
        file.write(f"{time.time()}\\n")
    time.sleep(0.2)
"""
"""Writes the time into the shared volume, as training would write a checkpoint; attempt 1 ends well."""


def scenario(name: str, program: str, *args: object, workers: int = 2, **spec: Any) -> dict[str, Any]:
    """Return a job of that program, which ends quickly when told to and restarts without a wait."""
    command = ["python3", "-c", program, *map(str, args)]
    made = job(name, command, workers=workers, terminationGracePeriodSeconds=2)
    made["spec"]["restart"] = {"limit": 1, "backoffSeconds": 0}
    made["spec"] |= spec
    return made


def _note(seen: list[Any], value: Any) -> None:
    if not seen or seen[-1] != value:
        seen.append(value)


@dataclass
class History:
    """What a job's status has said, each change once."""

    phases: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    counts: list[tuple[int, int, int]] = field(default_factory=list)
    """Attempt, failures, disruptions."""
    reasons: list[str] = field(default_factory=list)
    """Of the failures that it named."""
    hints: list[str] = field(default_factory=list)
    """Of those that are known ways to die."""

    def add(self, status: dict[str, Any]) -> None:
        """Take in a version of the status."""
        restarts = status.get("restarts") or {}
        count = (status.get("attempt", 0), restarts.get("failures", 0), restarts.get("disruptions", 0))
        true = [c["type"] for c in status.get("conditions") or () if c["status"] == "True"]
        _note(self.counts, count)
        if status.get("failure"):
            _note(self.reasons, status["failure"]["reason"])
            if status["failure"].get("hint"):
                _note(self.hints, status["failure"]["hint"])
        if status.get("phase"):
            _note(self.phases, status["phase"])
        if "Finished" in true:
            _note(self.finished, ",".join(true))

    def check(self) -> None:
        """Hold what is true of every job: counts only rise, and what is final is said once."""
        assert self.counts == sorted(self.counts), self.counts
        assert len(self.finished) <= 1, self.finished
        final = [phase for phase in self.phases if phase in {"Succeeded", "Failed"}]
        assert final == self.phases[-1:] or not final, self.phases


@contextmanager
def history(cluster: Cluster, name: str) -> Iterator[History]:
    """Record a job's status while the block runs, from what it is before on."""
    command = ["kubectl", "--context", CONTEXT, "-n", cluster.namespace, "get", "ftj", name]
    command += ["--watch", "-o", "jsonpath={.status}{'\\n'}"]
    found, watching = History(), Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                watching.set()
                if line.strip():
                    found.add(json.loads(line))

        reader = Thread(target=read)
        reader.start()
        try:
            assert watching.wait(60), f"kubectl does not show {name}"
            yield found
        finally:
            process.terminate()
            reader.join()


@contextmanager
def no_operator() -> Iterator[dict[str, Any]]:
    """Have no operator while the block runs; yields its pod template."""
    deployment = SYSTEM.get("deployment", "ftjob-operator")
    SYSTEM.kubectl("scale", "deployment/ftjob-operator", "--replicas=0")
    SYSTEM.kubectl("wait", "--for=delete", "pods", "-l", "app.kubernetes.io/name=ftjob", "--timeout=60s")
    try:
        yield deployment["spec"]["template"]
    finally:
        SYSTEM.kubectl("scale", "deployment/ftjob-operator", f"--replicas={deployment['spec']['replicas']}")
        SYSTEM.kubectl("rollout", "status", "deployment/ftjob-operator", "--timeout=90s")


def delete_and_look(cluster: Cluster, name: str) -> None:
    """Delete a job, and see that nothing of it is left."""
    uid = cluster.get("ftj", name)["metadata"]["uid"]
    cluster.kubectl("delete", "ftj", name)
    mine = ("pods,services,secrets", "-l", f"ftjob.dev/uid={uid}")
    if cluster.kubectl("get", *mine, "-o", "name"):
        cluster.kubectl("wait", "--for=delete", *mine, "--timeout=60s")


def evict(cluster: Cluster, pod: str) -> None:
    """Evict a pod, as draining its node would."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod}/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def nodes() -> int:
    """Return on how many nodes pods without tolerations may run."""
    command = ["kubectl", "--context", CONTEXT, "get", "nodes", "-o", "json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["items"]
    return sum(not node["spec"].get("taints") for node in found)


def spread(name: str, *, workers: int, **spec: Any) -> dict[str, Any]:
    """Return a job that has each pod on a node of its own, without any other of this label `app`."""
    apart = {"labelSelector": {"matchLabels": {"app": name}}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}
    made = job(name, ["true"], workers=workers, affinity=affinity)
    made["spec"]["template"]["metadata"] = {"labels": {"app": name}}
    made["spec"] |= spec
    return made


def let_go(cluster: Cluster, pod: str) -> None:
    """Have the ranks of a pod that runs `HELD` end."""
    cluster.kubectl("exec", pod, "-c", "trainer", "--", "touch", "/tmp/go")


def restarts(job: dict[str, Any]) -> tuple[int, int, int]:
    """Return attempt, failures and disruptions."""
    status = job["status"]
    return status["attempt"], status["restarts"]["failures"], status["restarts"]["disruptions"]


def finished_pod_deleted(cluster: Cluster, name: str, meanwhile: AbstractContextManager[object]) -> None:
    """Delete the pod of a worker that has succeeded while the other still runs: its success counts.

    Parameters
    ----------
    meanwhile
        What holds while the pod is deleted and the other worker succeeds.
    """
    program = f"import os\nif os.environ['FTJOB_INDEX'] == '1': raise SystemExit\n{HELD}"
    cluster.apply(scenario(name, program))
    cluster.until("ftj", name, "{.status.roles[0].succeededIndexes}=1")
    with history(cluster, name) as seen:
        with meanwhile:
            cluster.kubectl("delete", "pod", f"{name}-worker-0-1")
            let_go(cluster, f"{name}-worker-0-0")
            cluster.until("pod", f"{name}-worker-0-0", "{.status.phase}=Succeeded")
        ended = cluster.finished(name)
    seen.check()
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    assert restarts(ended) == (0, 0, 0)
    assert ended["status"]["roles"][0]["succeededIndexes"] == "0-1"
    assert not any(pod["metadata"]["name"].endswith("-1") for pod in pods_of(cluster, name))
    delete_and_look(cluster, name)
