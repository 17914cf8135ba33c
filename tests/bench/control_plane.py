"""A whole control plane with fake nodes: what a burst of jobs meets, kubelets and networks aside.

Real API server, etcd, scheduler and job controller, with the client limits raised so that not they are
measured; kwok (https://kwok.sigs.k8s.io) plays fifty kubelets, which start every pod at once.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from support.apiserver import NEWEST, ApiServer, binary, process, running_api_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODES = 50
CONTROLLERS = ("job", "garbage-collector", "endpointslice", "serviceaccount")
STAGES = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: pod-runs}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
      - {key: .metadata.deletionTimestamp, operator: DoesNotExist}
      - {key: .status.phase, operator: In, values: [Pending]}
  next:
    statusTemplate: |
      {{ $now := Now }}
      phase: Running
      podIP: 127.0.0.1
      podIPs: [{ip: 127.0.0.1}]
      startTime: {{ $now | Quote }}
      conditions:
      {{ range (list "Initialized" "Ready" "ContainersReady") }}
      - {type: {{ . }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
      {{ end }}
      containerStatuses:
      {{ range .spec.containers }}
      - name: {{ .name | Quote }}
        image: {{ .image | Quote }}
        imageID: ""
        ready: true
        restartCount: 0
        started: true
        state: {running: {startedAt: {{ $now | Quote }}}}
      {{ end }}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: pod-goes}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
      - {key: .metadata.deletionTimestamp, operator: Exists}
  next:
    finalizers: {empty: true}
    delete: true
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: nodes-stay-as-they-are}
spec:
  resourceRef: {apiGroup: v1, kind: Node}
  selector:
    matchExpressions:
      - {key: .metadata.deletionTimestamp, operator: Exists}
  next:
    delete: true
"""


@contextmanager
def running_control_plane(folder: Path) -> Iterator[ApiServer]:
    """Run it until the block ends; logs are in ``folder``."""
    stages = folder / "stages.yaml"
    stages.write_text(STAGES)
    with ExitStack() as stack:
        server = stack.enter_context(running_api_server(NEWEST, folder, service_accounts=True))
        _add_nodes(server)
        config = f"--kubeconfig={server.kubeconfig}"
        limits = ("--kube-api-qps=5000", "--kube-api-burst=5000", "--leader-elect=false")
        controllers = ",".join(f"{name}-controller" for name in CONTROLLERS)
        for name, *arguments in (
            ("kube-scheduler", *limits),
            (
                "kube-controller-manager",
                *limits,
                f"--controllers={controllers}",
                "--concurrent-job-syncs=16",
                "--concurrent-service-endpoint-syncs=16",
            ),
        ):
            stack.enter_context(
                process(folder / f"{name}.log", binary(name, NEWEST), config, "--secure-port=0", *arguments)
            )
        stack.enter_context(
            process(
                folder / "kwok.log",
                binary("kwok", "v0.7"),
                config,
                f"--config={stages}",
                "--manage-all-nodes=true",
                "--node-lease-duration-seconds=0",
            )
        )
        yield server


def _add_nodes(server: ApiServer) -> None:
    room = {"cpu": "64", "memory": "256Gi", "pods": "250"}
    ready = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
    with server.client() as client:
        for number in range(NODES):
            name = f"node-{number}"
            node = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                "status": {"capacity": room, "allocatable": room, "conditions": ready},
            }
            answer = client.send("POST", "/api/v1/nodes", node)
            assert answer.code == 201, answer.message
            # Admission has tainted the node, and the controller that would see that it is ready is left out.
            merge = "application/merge-patch+json"
            answer = client.send(
                "PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}}, content_type=merge
            )
            assert answer.code == 200, answer.message
