"""What Kueue's controllers would do to a Workload, by hand: its real CRDs, and a stand-in for the rest."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from support.apiserver import NEWEST, OLDEST, Answer, ApiServer, Client, running_api_server
from support.control_cluster import PLACES, Namespace, new_namespace, watch
from support.crds import install, of_others

from ftjob.models.names import KUEUE_LABEL

Manifest = dict[str, Any]
VERSIONS = {OLDEST: "v1beta1", NEWEST: "v1beta2"}
"""Of Kueue's API, by the API server that the tests serve it with."""
QUEUE = {KUEUE_LABEL: "team-a"}
"""Label of a queued job."""
FLAVOR = "spot"
WAIT_SECONDS = 30
TRIES = 5
RIGHTS = {
    *(("workloads", verb) for verb in ("list", "create", "delete")),
    ("workloads/status", "patch"),
    *((kind, "get") for kind in ("resourceflavors", "workloadpriorityclasses", "priorityclasses")),
}
"""What the operator does there, by resource and verb; watches aside."""
RIGHTS_TO_ADOPT = {("workloads", "get"), ("workloads", "patch")}
"""What it does besides with a Workload that somebody else has made."""
URGENT = {"kueue.x-k8s.io/priority-class": "urgent"}
"""Label of a job whose WorkloadPriorityClass is there."""
TOLERATION = {"key": "spot", "operator": "Exists", "effect": "NoSchedule"}


@contextmanager
def running_kueue_server(version: str, folder: Path) -> Iterator[ApiServer]:
    """Run an API server of its own with Kueue's CRDs until the block ends."""
    with running_api_server(version, folder) as running:
        install_kueue(running, VERSIONS[version])
        yield running


def install_kueue(server: ApiServer, version: str) -> None:
    """Install Kueue's CRDs with one version served, our CRD, and a flavour."""
    install(server)
    documents = []
    for path in sorted(of_others("kueue").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        for offered in crd["spec"]["versions"]:
            if len(crd["spec"]["versions"]) > 1:
                offered["served"] = offered["storage"] = offered["name"] == version
        documents.append(crd)
    text = yaml.safe_dump_all(documents)
    for command in (("apply", "--server-side"), ("wait", "--for=condition=Established", "--timeout=30s")):
        done = server.kubectl(*command, "-f", "-", stdin=text)
        assert done.returncode == 0, done.stderr
    flavor = {
        "apiVersion": f"kueue.x-k8s.io/{version}",
        "kind": "ResourceFlavor",
        "metadata": {"name": FLAVOR},
        "spec": {"nodeLabels": {"pool": "spot"}, "tolerations": [TOLERATION]},
    }
    priority = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "high"},
        "value": 1000,
    }
    urgent = {
        "apiVersion": f"kueue.x-k8s.io/{version}",
        "kind": "WorkloadPriorityClass",
        "metadata": {"name": "urgent"},
        "value": 2000,
    }
    done = server.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([flavor, priority, urgent]))
    assert done.returncode == 0, done.stderr


@dataclass
class Kueue:
    """Kueue, as far as one namespace's Workloads are concerned."""

    space: Namespace
    version: str

    @classmethod
    def in_new_namespace(cls, server: ApiServer, client: Client) -> "Kueue":
        """Return it for a namespace that nobody else uses."""
        return cls(new_namespace(client), VERSIONS[server.version])

    @property
    def plural(self) -> str:
        """Where the Workloads are."""
        plural = f"workloads.{self.version}.kueue.x-k8s.io"
        PLACES[plural] = f"/apis/kueue.x-k8s.io/{self.version}"
        return plural

    def workload(self) -> Manifest:
        """Return the one Workload."""
        (found,) = self.space.list(self.plural)
        return found

    def until_there(self, *, but: str = "") -> Manifest:
        """Wait until there is a Workload, other than the one of this UID."""
        for kind, found in watch(self.space, self.plural):
            if kind != "DELETED" and found["metadata"]["uid"] != but:
                return found
        raise AssertionError(self.space.list(self.plural))

    def until(self, kind: str, status: str) -> Manifest:
        """Wait until the Workload has a condition."""
        for _, found in watch(self.space, self.plural):
            if self.conditions(found).get(kind, {}).get("status") == status:
                return found
        raise AssertionError(self.space.list(self.plural))

    def until_gone(self) -> None:
        """Wait until there is no Workload."""
        deadline = time.monotonic() + WAIT_SECONDS
        while found := self.space.list(self.plural):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)

    @staticmethod
    def conditions(workload: Manifest) -> dict[str, Manifest]:
        """Return its conditions by type."""
        return {c["type"]: c for c in workload.get("status", {}).get("conditions", ())}

    def tell(self, *changes: tuple[str, str, str, str], **status: Any) -> None:
        """Set conditions (type, status, reason, message) of the Workload, when it is there."""
        self.until_there()
        for _ in range(TRIES):
            if self._say(changes, status).code == 200:
                return
        raise AssertionError(self.workload())

    def _say(self, changes: tuple[tuple[str, str, str, str], ...], status: dict[str, Any]) -> Answer:
        """Try to; the operator may have written something at the same time."""
        workload = self.workload()
        conditions = self.conditions(workload)
        for kind, value, reason, message in changes:
            conditions[kind] = {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        version = workload["metadata"]["resourceVersion"]
        body = {
            "metadata": {"resourceVersion": version},
            "status": {"conditions": list(conditions.values()), **status},
        }
        path = self.space.path(self.plural, workload["metadata"]["name"], "status")
        answer = self.space.client.send("PATCH", path, body, content_type="application/merge-patch+json")
        assert answer.code in {200, 409}, answer.message
        return answer

    def admit(self, count: int) -> None:
        """Let the job in, or so many of its workers."""
        assignment = {
            "name": "worker",
            "count": count,
            "flavors": {"cpu": FLAVOR},
            "resourceUsage": {"cpu": "1"},
        }
        self.tell(
            ("QuotaReserved", "True", "QuotaReserved", "Quota reserved"),
            ("Admitted", "True", "Admitted", "The workload is admitted"),
            ("Evicted", "False", "QuotaReserved", "Previously: evicted"),
            admission={"clusterQueue": "all", "podSetAssignments": [assignment]},
        )

    def evict(self) -> None:
        """Preempt the job."""
        self.tell(("Evicted", "True", "Preempted", "Preempted to accommodate another workload"))
