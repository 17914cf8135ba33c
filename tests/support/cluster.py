"""The kind cluster as tests use it: through kubectl, as a user would."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CONTEXT = "kind-ftjob"
ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "manifests" / "samples"
PROGRAMS = ROOT / "tests" / "support" / "programs"
CACHE = Path(
    os.environ.get("FTJOB_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ftjob"
)
SHARED = CACHE / "cluster" / "shared"
"""Where the nodes' shared volumes lie on this machine."""


@dataclass(frozen=True)
class Cluster:
    """One namespace of the cluster."""

    namespace: str

    def kubectl(self, *args: str, stdin: str | None = None, seconds: int = 300) -> str:
        """Run kubectl in the namespace; its error output becomes the exception."""
        command = ["kubectl", "--context", CONTEXT, "-n", self.namespace, *args]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=seconds
        )
        if done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.strip()}\n{self._pods()}")
        return done.stdout

    def _pods(self) -> str:
        command = [
            "kubectl",
            "--context",
            CONTEXT,
            "-n",
            self.namespace,
            "get",
            "ftj,pods,events",
            "-o",
            "wide",
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply manifests as kubectl does, with strict validation."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return one object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return found

    def finished(self, name: str, *, seconds: int = 300) -> dict[str, Any]:
        """Wait for a job's end; return the job as it was at that moment."""
        what = (f"ftj/{name}", f"--timeout={seconds}s")
        found: dict[str, Any] = json.loads(
            self.kubectl("wait", "--for=condition=Finished", *what, "-o", "json", seconds=seconds + 60)
        )
        return found

    def until(self, kind: str, name: str, jsonpath: str, *, seconds: int = 120) -> dict[str, Any]:
        """Wait for an object and its field, by watches; return the object as it was at that moment."""
        what = (f"{kind}/{name}", f"--timeout={seconds}s")
        self.kubectl("wait", "--for=create", *what)
        answer = self.kubectl("wait", f"--for=jsonpath={jsonpath}", *what, "-o", "json")
        found: dict[str, Any] = json.loads(answer)
        return found

    def outputs_of(self, job: dict[str, Any]) -> Path:
        """Return the job's folder in its shared volume, as this machine sees it."""
        meta = job["metadata"]
        claim = self.get("pvc", job["spec"]["outputs"].get("claimName") or f"{meta['name']}-outputs")
        [volume] = SHARED.glob(f"{claim['spec']['volumeName']}_*")
        return volume / self.namespace / str(meta["name"]) / str(meta["uid"])


def conditions(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the job's conditions by type."""
    return {c["type"]: c for c in job["status"].get("conditions") or ()}


def pods_of(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """Return a job's pods, without those of seconds that collect what its ranks have left."""
    selector = f"ftjob.dev/job={name},!ftjob.dev/collects"
    found = cluster.kubectl("get", "pods", "-l", selector, "-o", "json")
    return list(json.loads(found)["items"])


def sample(name: str) -> dict[str, Any]:
    """Return a sample manifest."""
    found: dict[str, Any] = yaml.safe_load((SAMPLES / name).read_text())
    return found


LOADED = ("ftjob-workload-tensorflow:dev", "ftjob-workload-horovod:dev")
"""Workload images that the nodes hold."""


def in_test_environment(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a sample as it is if the nodes hold its image, else in the slim one with packages mounted."""
    changed = copy.deepcopy(manifest)
    pod = changed["spec"]["template"]["spec"]
    [trainer] = pod["containers"]
    if trainer["image"] not in LOADED:
        needs_xla = changed["spec"].get("tpu", {}).get("library") == "TorchXLA"
        trainer["image"] = "ftjob-test-base:dev"
        mount: dict[str, Any] = {"name": "test-env", "mountPath": "/test-env", "readOnly": True}
        if needs_xla:
            mount["subPath"] = "tpu"  # torch-xla needs another torch
        trainer.setdefault("volumeMounts", []).append(mount)
        claim = {"claimName": "test-env", "readOnly": True}
        pod.setdefault("volumes", []).append({"name": "test-env", "persistentVolumeClaim": claim})
    return changed


def every_rank_alone(manifest: dict[str, Any], *options: str, workers: int = 2) -> dict[str, Any]:
    """Return a mutant of a sample: every rank alone, as where an operator's variables got lost."""
    mutant = copy.deepcopy(manifest)
    mutant["metadata"]["name"] += "-alone"
    spec = mutant["spec"]
    for key in ("profiling", "processesPerWorker", "roles"):
        spec.pop(key, None)
    spec |= {"strategy": "Plain", "workers": workers}
    pod = spec["template"]["spec"]
    pod.pop("topologySpreadConstraints", None)
    # Each takes itself for rank 0, which alone writes there.
    folders = ["--checkpoint-dir=/tmp", "--results-dir=/ftjob/outputs/results/$(FTJOB_INDEX)"]
    pod["containers"][0]["command"] += [*options, *folders]
    return mutant


RESTRICTED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


OPERATOR = "system:serviceaccount:ftjob-system:ftjob-operator"


def operator_requests(namespace: str = "") -> list[dict[str, Any]]:
    """Return what the operator has asked of the API server so far, as the audit log has it.

    Parameters
    ----------
    namespace
        Only lines that name this one; the log of a long run is large.
    """
    search = ["grep", "-F", namespace, "/var/log/kubernetes/audit.log"]
    command = ["docker", "exec", "ftjob-control-plane", *search]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = []
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the line that is being written
        if entry["user"]["username"] == OPERATOR and "objectRef" in entry:
            found.append(entry)
    return found


def operator_metrics() -> dict[str, float]:
    """Return what the operator tells Prometheus, by series."""
    service = "/api/v1/namespaces/ftjob-system/services/ftjob-operator-metrics:metrics/proxy/metrics"
    lines = Cluster("ftjob-system").kubectl("get", "--raw", service).splitlines()
    found = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {series: float(value) for series, _, value in found}


def programs_map() -> dict[str, Any]:
    """Return a ConfigMap with the training loops, mounted at /programs."""
    data = {path.name: path.read_text() for path in sorted(PROGRAMS.glob("*.py"))}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "programs"}, "data": data}


def environment_claim() -> dict[str, Any]:
    """Return the claim of the packages (torch, TensorFlow, Horovod), mounted at /test-env."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "test-env"},
        "spec": {
            "storageClassName": "ftjob-test-env",
            "accessModes": ["ReadOnlyMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def job(  # one line a job in the tests
    name: str,
    command: list[str],
    *,
    strategy: str = "Plain",
    workers: int = 1,
    processes: int = 1,
    frameworks: bool = False,
    **pod: Any,
) -> dict[str, Any]:
    """Return a job of plain Python that passes Pod Security restricted.

    Parameters
    ----------
    frameworks
        Mount torch, TensorFlow and Horovod, and the training loops.
    pod
        Further fields of the pod spec.
    """
    trainer: dict[str, Any] = {
        "name": "trainer",
        "image": "ftjob-test-base:dev",
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": RESTRICTED_CONTAINER,
    }
    spec: dict[str, Any] = {"securityContext": RESTRICTED_POD, "containers": [trainer], **pod}
    if frameworks:
        trainer["volumeMounts"] = [
            {"name": "test-env", "mountPath": "/test-env", "readOnly": True},
            {"name": "programs", "mountPath": "/programs"},
        ]
        spec["volumes"] = [
            {"name": "test-env", "persistentVolumeClaim": {"claimName": "test-env", "readOnly": True}},
            {"name": "programs", "configMap": {"name": "programs"}},
        ]
    return {
        "apiVersion": "ftjob.dev/v1alpha1",
        "kind": "FrameworkTrainingJob",
        "metadata": {"name": name},
        "spec": {
            "strategy": strategy,
            "workers": workers,
            "processesPerWorker": processes,
            "template": {"spec": spec},
        },
    }


def seen_while_running(cluster: Cluster, name: str, column: str, *, seconds: int = 240) -> list[str]:
    """Return the different values of a printer column while a job runs."""
    values: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = cluster.get("ftj", name).get("status") or {}
        value = str((status.get("display") or {}).get(column, ""))
        if status.get("phase") == "Running" and value and value not in values:
            values.append(value)
        if status.get("phase") in {"Succeeded", "Failed"}:
            return values
        time.sleep(1)
    raise AssertionError(f"job {name} did not end within {seconds} s; saw {values}")
