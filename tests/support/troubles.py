"""Troubles of jobs on a lone API server: what kubelet, scheduler, Kueue and a webhook would say there."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from support.builders import agent_message
from support.control_cluster import Namespace, plain_job, watch
from support.kueue import QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.apiserver import ApiServer
    from support.kueue import Kueue

    from ftjob.models.manifest import Manifest

STAMP = "2026-01-01T00:00:00Z"
PODGROUPS = "podgroups.scheduling.k8s.io"
NODE = "node-that-was-lost"
GPU = (
    "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient nvidia.com/gpu. "
    "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)
TAINT = (
    "0/3 nodes are available: 3 node(s) had untolerated taint(s). "
    "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)
NO_CLAIM = '0/3 nodes are available: persistentvolumeclaim "nosuch" not found. not found'
UNBOUND = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
IMAGE = (
    'Back-off pulling image "registry.invalid/nosuch:1": ErrImagePull: failed to pull and unpack image '
    '"registry.invalid/nosuch:1": failed to resolve reference "registry.invalid/nosuch:1": failed to do '
    'request: Head "https://registry.invalid/v2/nosuch/manifests/1": dial tcp: lookup registry.invalid on '
    "172.19.0.1:53: no such host"
)
MOUNT = 'MountVolume.SetUp failed for volume "data" : configmap "settings" not found'
GANG = "minCount (3) cannot be satisfied: 1 scheduled"
DENIED = 'admission webhook "cost.example.com" denied the request: no cost centre'


@dataclass
class Troubles:
    """A namespace in which jobs are in trouble."""

    server: ApiServer
    space: Namespace

    def submit(self, name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> None:
        """Create a job of two workers, or as many as the spec says."""
        body = plain_job(name, self.space.name, **spec)
        body["metadata"]["labels"] = labels or {}
        self.space.create("frameworktrainingjobs", body)

    def pod(self, job: str, index: int = 0) -> Manifest:
        """Wait for one of a job's pods."""
        name = f"{job}-worker-0-{index}"
        for _, pod in watch(self.space, "pods", f"metadata.name={name}"):
            return pod
        raise AssertionError(f"there is no pod {name}")

    def bind(self, pod: Manifest, node: str = "node-1") -> None:
        """Place a pod."""
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        answer = self.space.client.send("POST", self.space.path("pods", name, "binding"), body)
        assert answer.code == 201, answer.message

    def state(self, pod: Manifest, state: Manifest, *, phase: str = "Pending", ready: str = "False") -> None:
        """Say what a pod's trainer is at, as its kubelet would."""
        (trainer,) = pod["spec"]["containers"]
        container = {
            "name": trainer["name"],
            "image": trainer["image"],
            "imageID": "",
            "ready": ready == "True",
            "restartCount": 0,
            "state": state,
        }
        conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": STAMP}]
        status = {"phase": phase, "containerStatuses": [container], "conditions": conditions}
        self.space.patch("pods", pod["metadata"]["name"], {"status": status}, "status")

    def unplaced(self, pod: Manifest, message: str) -> None:
        """Say why a pod has no node, as the scheduler would."""
        placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        status = {"conditions": [{**placed, "lastTransitionTime": STAMP}]}
        self.space.patch("pods", pod["metadata"]["name"], {"status": status}, "status")
        self.warn("Pod", pod["metadata"], "FailedScheduling", message)

    def warn(self, kind: str, about: Manifest, reason: str, message: str) -> None:
        """Write a warning."""
        involved = {"kind": kind, "namespace": self.space.name, "name": about["name"], "uid": about["uid"]}
        event = {
            "metadata": {"generateName": f"{about['name']}."},
            "involvedObject": {"apiVersion": "v1", **involved},
            "type": "Warning",
            "reason": reason,
            "message": message,
            "count": 3,
            "firstTimestamp": STAMP,
            "lastTimestamp": STAMP,
            "source": {"component": "kubelet"},
        }
        self.space.create("events", event)

    def until(self, job: str, words: str) -> None:
        """Wait until a job's status says something."""
        self.space.await_job(lambda body: words in json.dumps(body.get("status", {})), job)


def image(at: Troubles) -> None:
    at.submit("image")
    pod = at.pod("image")
    at.bind(pod)
    at.state(pod, {"waiting": {"reason": "ImagePullBackOff", "message": IMAGE}})
    at.warn("Pod", pod["metadata"], "Failed", "Error: ErrImagePull")
    at.until("image", "ImagePullBackOff")


def mount(at: Troubles) -> None:
    at.submit("mount")
    pod = at.pod("mount")
    at.bind(pod)
    at.state(pod, {"waiting": {"reason": "ContainerCreating"}})
    at.warn("Pod", pod["metadata"], "FailedMount", MOUNT)


def quota(at: Troubles) -> None:
    hard = {"requests.amd.com/gpu": "8"}
    at.space.create("resourcequotas", {"metadata": {"name": "gpus"}, "spec": {"hard": hard}})
    used = {"status": {"hard": hard, "used": {"requests.amd.com/gpu": "8"}}}  # by the quota controller
    at.space.patch("resourcequotas", "gpus", used, "status")
    limits = {"resources": {"limits": {"amd.com/gpu": "1"}}}
    trainer = {"name": "trainer", "image": "example/train", "command": ["python", "train.py"], **limits}
    at.submit("quota", workers=1, template={"spec": {"containers": [trainer]}})
    at.until("quota", "exceeded quota")


def gpu(at: Troubles) -> None:
    at.submit("gpu", workers=1)
    at.unplaced(at.pod("gpu"), GPU)
    at.until("gpu", "Insufficient nvidia.com/gpu")


def taint(at: Troubles) -> None:
    at.submit("taint", workers=1)
    at.unplaced(at.pod("taint"), TAINT)
    at.until("taint", "untolerated taint")


def gang(at: Troubles) -> None:
    at.submit("gang", workers=3)
    at.pod("gang", 2)
    said = {
        "type": "PodGroupInitiallyScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": GANG,
    }
    conditions = [{**said, "lastTransitionTime": STAMP}]
    at.space.patch(PODGROUPS, "gang-0", {"status": {"conditions": conditions}}, "status")
    at.until("gang", "cannot be satisfied")


def oom(at: Troubles) -> None:
    at.submit("oom", workers=1)
    _dies(
        at,
        "oom",
        agent_message(kind="Exit", exit_code=137, text="killed by the kernel"),
        code=137,
        reason="OOMKilled",
    )


def exception(at: Troubles) -> None:
    at.submit("exception", workers=1)
    traceback = (
        'Traceback (most recent call last):\n  File "train.py", line 4\nValueError: the rate is negative'
    )
    _dies(at, "exception", agent_message(text=traceback))


def hang(at: Troubles) -> None:
    at.submit("hang", workers=1)
    text = "no rank has made a step for 600 s, and rank 0 holds up the others at train.py:12 read"
    _dies(at, "hang", agent_message(kind="Hang", exit_code=None, text=text))


def _dies(at: Troubles, job: str, message: str, *, code: int = 1, reason: str = "Error") -> None:
    pod = at.pod(job)
    at.bind(pod)
    at.state(pod, {"running": {"startedAt": STAMP}}, phase="Running", ready="True")
    end = {"exitCode": code, "reason": reason, "message": message}
    at.state(pod, {"terminated": end}, phase="Failed")
    at.space.await_phase("Failed", job)


def node(at: Troubles, name: str, ready: str, message: str) -> None:
    """Have a node that is ready, or not."""
    condition = {"type": "Ready", "status": ready, "message": message, "lastTransitionTime": STAMP}
    at.space.client.send("POST", "/api/v1/nodes", {"metadata": {"name": name}})
    at.space.client.send(
        "PATCH",
        f"/api/v1/nodes/{name}/status",
        {"status": {"conditions": [condition]}},
        content_type="application/merge-patch+json",
    )


def lost(at: Troubles) -> None:
    node(at, NODE, "Unknown", "Kubelet stopped posting node status.")
    at.submit("lost", workers=1)
    pod = at.pod("lost")
    at.bind(pod, NODE)
    at.state(pod, {"running": {"startedAt": STAMP}}, phase="Running", ready="False")
    at.space.await_pods("lost")


def claim(at: Troubles) -> None:
    at.submit("claim", workers=1, outputs={"claimName": "nosuch"})
    at.unplaced(at.pod("claim"), NO_CLAIM)
    at.until("claim", "persistentvolumeclaim")


def unbound(at: Troubles) -> None:
    at.submit("unbound", workers=1, outputs={"storageClassName": "nosuch"})
    at.unplaced(at.pod("unbound"), UNBOUND)
    found = at.space.get("persistentvolumeclaims", "unbound-outputs")
    said = 'storageclass.storage.k8s.io "nosuch" not found'
    at.warn("PersistentVolumeClaim", found["metadata"], "ProvisioningFailed", said)
    at.until("unbound", "unbound immediate")


def webhook(at: Troubles) -> None:
    """Needs `running_webhook`."""
    at.submit("webhook", workers=1)
    at.until("webhook", "denied the request")


SEEDS: tuple[Callable[[Troubles], None], ...] = (
    *(image, mount, quota, gpu, taint, gang, oom, exception, hang, lost, claim, unbound, webhook),
)
"""All in one namespace; Kueue's have a namespace for each."""


def pending(kueue: Kueue) -> None:
    """Have a job wait in Kueue's queue."""
    _queued(kueue, "pending")
    said = (
        "couldn't assign flavors to pod set worker: insufficient unused quota for cpu in flavor spot, "
        "2 more needed"
    )
    kueue.tell(("QuotaReserved", "False", "Pending", said))
    kueue.space.await_job(lambda job: "insufficient unused quota" in str(job["status"]), "pending")


def evicted(kueue: Kueue) -> None:
    """Have Kueue take back a job's admission."""
    _queued(kueue, "evicted")
    kueue.admit(2)
    kueue.space.await_phase("Starting", "evicted")
    kueue.evict()
    for pod in kueue.space.pods():
        kueue.space.delete("pods", pod, grace_seconds=0)
    kueue.space.await_phase("Queued", "evicted")


def _queued(kueue: Kueue, name: str) -> None:
    body = plain_job(name, kueue.space.name)
    body["metadata"]["labels"] = QUEUE
    kueue.space.create("frameworktrainingjobs", body)
    kueue.space.await_phase("Queued", name)


@contextmanager
def running_webhook(server: ApiServer, job: str) -> Iterator[None]:
    """Run a webhook that refuses the pods of the job of this name."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = {
                "uid": review["request"]["uid"],
                "allowed": False,
                "status": {"code": 403, "message": "no cost centre"},
            }
            said = json.dumps({**review, "response": answer}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.ca_file, server.ca_file.with_suffix(".key"))
    hook = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.socket = context.wrap_socket(hook.socket, server_side=True)
    thread = threading.Thread(target=hook.serve_forever, daemon=True)
    thread.start()
    authority = base64.b64encode(server.ca_file.read_bytes()).decode()
    where = {"url": f"https://127.0.0.1:{hook.server_port}/", "caBundle": authority}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    body = {
        "metadata": {"name": "cost"},
        "webhooks": [
            {
                "name": "cost.example.com",
                "clientConfig": where,
                "rules": [rule],
                "objectSelector": {"matchLabels": {"ftjob.dev/job": job}},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
    with server.client() as client:
        path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        answer = client.send("POST", path, body)
        assert answer.code == 201, answer.message
    try:
        yield
    finally:
        hook.shutdown()
        hook.server_close()
        thread.join()
