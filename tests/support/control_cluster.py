"""What a lone API server lacks: the operator as a process, and a kubelet that moves pods along."""

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from support.apiserver import ApiServer, Client
from support.mortal import KILLED, WRITES, program
from support.ports import free_port

from ftjob.models.names import API_VERSION, GROUP, KIND, LABEL_INDEX, LABEL_JOB, PLURAL, VERSION

WAIT_SECONDS = 60
PLACES = {
    PLURAL: f"/apis/{GROUP}/{VERSION}",
    "networkpolicies.networking.k8s.io": "/apis/networking.k8s.io/v1",
    "podgroups.scheduling.k8s.io": "/apis/scheduling.k8s.io/v1beta1",
    "podgroups.scheduling.volcano.sh": "/apis/scheduling.volcano.sh/v1beta1",
    "podgroups.scheduling.x-k8s.io": "/apis/scheduling.x-k8s.io/v1alpha1",
}
"""Where kinds are that are not core ones."""

Manifest = dict[str, Any]


def plain_job(name: str, namespace: str, *, workers: int = 2, **spec: Any) -> Manifest:
    """Return a job of strategy Plain."""
    container = {"name": "trainer", "image": "example/train", "command": ["python", "train.py"]}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "strategy": "Plain",
            "workers": workers,
            "template": {"spec": {"containers": [container]}},
            **spec,
        },
    }


@dataclass
class Namespace:
    """One namespace of the API server, for one test."""

    client: Client
    name: str

    def path(self, plural: str, name: str = "", subresource: str = "") -> str:
        """Return the path of an object or of all objects of a kind."""
        root = PLACES.get(plural, "/api/v1")
        plural = plural.partition(".")[0]
        parts = [root, "namespaces", self.name, plural, name, subresource]
        return "/".join(part for part in parts if part)

    def create(self, plural: str, body: Manifest) -> Manifest:
        """Create an object."""
        answer = self.client.send("POST", self.path(plural), body)
        assert answer.code == 201, answer.message
        return answer.body

    def get(self, plural: str, name: str) -> Manifest:
        """Read an object."""
        answer = self.client.send("GET", self.path(plural, name))
        assert answer.code == 200, answer.message
        return answer.body

    def list(self, plural: str) -> list[Manifest]:
        """Read all objects of a kind."""
        answer = self.client.send("GET", self.path(plural))
        assert answer.code == 200, answer.message
        return list(answer.body["items"])

    def patch(self, plural: str, name: str, body: Manifest, subresource: str = "") -> Manifest:
        """Merge-patch an object."""
        answer = self.client.send(
            "PATCH", self.path(plural, name, subresource), body, content_type="application/merge-patch+json"
        )
        assert answer.code == 200, answer.message
        return answer.body

    def delete(self, plural: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Delete an object."""
        body = {} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
        answer = self.client.send("DELETE", self.path(plural, name), body)
        assert answer.code in {200, 202, 404}, answer.message

    def submit(self, name: str = "digits", **more: Any) -> Manifest:
        """Create a job."""
        return self.create(PLURAL, plain_job(name, self.name, **more))

    def job(self, name: str = "digits") -> Manifest:
        """Read a job."""
        return self.get(PLURAL, name)

    def pods(self) -> dict[str, Manifest]:
        """Read all pods, by name."""
        return {pod["metadata"]["name"]: pod for pod in self.list("pods")}

    def await_job(self, until: Callable[[Manifest], bool], name: str = "digits") -> Manifest:
        """Watch a job until it is as wanted."""
        for _, job in watch(self, PLURAL, f"metadata.name={name}"):
            if until(job):
                return job
        raise AssertionError(f"after {WAIT_SECONDS} s: {json.dumps(self.job(name).get('status'))}")

    def let_have_run(self, name: str = "digits") -> None:
        """Make an attempt a minute old: a short one is not followed by another at once."""
        since = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.patch(PLURAL, name, {"status": {"runningTime": since}}, "status")

    def await_pods(self, name: str = "digits") -> Manifest:
        """Watch a job until all of its pods run, as far as its status says."""
        return self.await_job(pods_run, name)

    def await_phase(self, phase: str, name: str = "digits") -> Manifest:
        """Watch a job until it is in a phase."""
        return self.await_job(lambda job: job.get("status", {}).get("phase") == phase, name)


def pods_run(job: Manifest) -> bool:
    """Whether all pods of a job run; where no agents are in them it stays Starting."""
    status = job.get("status", {})
    return "runningTime" in status and status["phase"] in {"Starting", "Running"}


def new_namespace(client: Client) -> Namespace:
    """Make a namespace that no other test uses."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    answer = client.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert answer.code == 201, answer.message
    return Namespace(client, name)


def watch(
    space: Namespace, plural: str, fields: str = "", seconds: int = WAIT_SECONDS
) -> Iterator[tuple[str, Manifest]]:
    """Yield what is there and then each change, for so many seconds; on a connection of its own."""
    old = space.client.connection
    connection = http.client.HTTPSConnection(
        old.host, old.port, timeout=seconds + 10, context=ssl._create_unverified_context()
    )
    query = {"watch": "true", "timeoutSeconds": str(seconds), "fieldSelector": fields}
    try:
        connection.request(
            "GET",
            f"{space.path(plural)}?{urlencode(query)}",
            headers={"Authorization": f"Bearer {space.client.token}"},
        )
        for line in connection.getresponse():
            event = json.loads(line)
            yield event["type"], event["object"]
    finally:
        connection.close()


@dataclass
class Kubelet:
    """Runs the pods of a namespace, as far as the API shows: they run, end when told, and go when deleted."""

    server: ApiServer
    namespace: str
    born: dict[str, set[str]] = field(default_factory=dict)
    """UIDs by name of every pod that was ever seen."""
    exit_codes: dict[str, int] = field(default_factory=dict)
    """Pods that end by themselves, by name; ``*`` for all."""
    stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Act until stopped."""
        with self.server.client() as client:
            space = Namespace(client, self.namespace)
            while not self.stopping.is_set():
                for kind, pod in watch(space, "pods", seconds=600):
                    if self.stopping.is_set():
                        return
                    if kind != "DELETED":
                        self._move(space, pod)

    def finish(self, name: str = "*", exit_code: int = 0) -> None:
        """Let a pod end, now or as soon as it runs."""
        with self._lock:
            self.exit_codes[name] = exit_code
        with self.server.client() as client:
            space = Namespace(client, self.namespace)
            for pod in space.list("pods"):
                self._move(space, pod)

    def _move(self, space: Namespace, pod: Manifest) -> None:
        meta, status = pod["metadata"], pod.get("status", {})
        name = meta["name"]
        if LABEL_JOB not in meta.get("labels", {}):
            return
        with self._lock:
            self.born.setdefault(name, set()).add(meta["uid"])
            code = self.exit_codes.get(name, self.exit_codes.get("*"))
        if "deletionTimestamp" in meta:
            space.delete("pods", name, grace_seconds=0)
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
            target["target"] = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
            space.client.send("POST", space.path("pods", name, "binding"), target)
        elif status.get("phase") == "Pending":
            self._set(space, pod, "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}})
        elif status.get("phase") == "Running" and code is not None:
            end = {"exitCode": code, "reason": "Error" if code else "Completed"}
            self._set(space, pod, "Failed" if code else "Succeeded", {"terminated": end})

    def _set(self, space: Namespace, pod: Manifest, phase: str, state: Manifest) -> None:
        container = pod["spec"]["containers"][0]
        status = {
            "phase": phase,
            "podIP": "127.0.0.1",
            "podIPs": [{"ip": "127.0.0.1"}],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": "running" in state,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        meta = pod["metadata"]
        space.client.send(
            "PATCH",
            space.path("pods", meta["name"], "status"),
            {"metadata": {"uid": meta["uid"]}, "status": status},
            content_type="application/merge-patch+json",
        )


@contextmanager
def running_kubelet(server: ApiServer, namespace: str) -> Iterator[Kubelet]:
    """Have the pods of a namespace run."""
    kubelet = Kubelet(server, namespace)
    thread = threading.Thread(target=kubelet.run, daemon=True)
    thread.start()
    try:
        yield kubelet
    finally:
        kubelet.stopping.set()


@dataclass
class Operator:
    """An operator process."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    def get(self, path: str) -> tuple[int, str]:
        """Ask the operator's own HTTP server; code 0 if it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def requests(self) -> dict[tuple[str, str, str], int]:
        """Return the counts of requests to the API server by verb, resource and code."""
        found = {}
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith("ftjob_api_requests_total{"):
                labels, _, count = line.removeprefix("ftjob_api_requests_total{").rpartition("} ")
                pairs = dict(part.split("=") for part in labels.replace('"', "").split(","))
                found[pairs["verb"], pairs["resource"], pairs["code"]] = int(float(count))
        return found

    def writes(self) -> int:
        """Return how many writes were acknowledged, those of the Lease aside."""
        return sum(
            count
            for (verb, resource, code), count in self.requests().items()
            if verb not in {"get", "list", "watch"} and resource != "leases" and code.startswith("2")
        )

    def await_ready(self, *, leading: bool) -> None:
        """Wait until the operator works, or only stands by, or has ended."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.process.poll() is None:
            if (b"ready: serving" in self.log.read_bytes()) if leading else self.get("/readyz")[0] == 200:
                return
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


@contextmanager
def running_operator(
    server: ApiServer,
    folder: Path,
    *args: str,
    namespace: str,
    home: str | None = None,
    kubeconfig: Path | None = None,
    dies_after: int = 0,
    cluster_wide: bool = False,
    leading: bool = True,
) -> Iterator[Operator]:
    """Run ``python -m ftjob.control`` until the block ends.

    Parameters
    ----------
    home
        The operator's own namespace; the served one if left out.
    dies_after
        After which of its writes it dies; 0 for none.
    leading
        Whether to wait until it works; else only until it stands by.
    """
    port = free_port()
    log = folder / f"operator-{port}.log"
    operator_program = ["-c", program()] if dies_after else ["-m", "ftjob.control"]
    command = [sys.executable, *operator_program, f"--metrics-port={port}", f"--health-port={port}"]
    if not cluster_wide:
        command.append(f"--namespaces={namespace}")
    env = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig or server.kubeconfig),
        "POD_NAMESPACE": home or namespace,
        "POD_NAME": f"operator-{port}",
        WRITES: str(dies_after),
    }
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *args], env=env, stdout=output, stderr=output)
    operator = Operator(process, log, port)
    try:
        operator.await_ready(leading=leading)
        yield operator
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        process.kill()
        process.wait()


@contextmanager
def mortal_operator(
    server: ApiServer, folder: Path, namespace: str, *args: str, write: int
) -> Iterator[list[Operator]]:
    """Keep an operator running while the block does: the first dies after so many of its writes.

    Parameters
    ----------
    write
        After which of its writes the first one dies; 0 for none, so that the block may kill it.

    Yields
    ------
    list of Operator
        All that there have been so far.
    """
    lives: list[Operator] = []
    ended = threading.Event()

    def keep_running() -> None:
        dies_after = write
        while not ended.is_set():
            with running_operator(
                server, folder, "--no-leader-election", *args, namespace=namespace, dies_after=dies_after
            ) as operator:
                lives.append(operator)
                while operator.process.poll() is None and not ended.wait(0.05):
                    pass
                if write and not ended.is_set():
                    assert operator.process.returncode == KILLED, operator.log.read_text()
            dies_after = 0

    thread = threading.Thread(target=keep_running)
    thread.start()
    try:
        yield lives
    finally:
        ended.set()
        thread.join()


def index_of(pod: Manifest) -> int:
    """Return a pod's index."""
    return int(pod["metadata"]["labels"][LABEL_INDEX])
