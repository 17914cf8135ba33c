"""The CRD on real API servers."""

import json
from pathlib import Path

import pytest
import yaml
from support.apiserver import ApiServer, Client
from support.jobs import JOBS, job

from ftjob.api.crd import IMMUTABLE, build_crd

SAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "samples").glob("*.yaml"))


def test_crd_needs_no_server_side_apply(server: ApiServer) -> None:
    crd = json.loads(server.kubectl("get", "crd", build_crd()["metadata"]["name"], "-o", "json").stdout)
    applied = crd["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert len(applied) <= 200_000  # etcd and kubectl allow 262144 for all annotations


def test_server_finds_nothing_wrong_with_the_schema(server: ApiServer) -> None:
    crd = json.loads(server.kubectl("get", "crd", build_crd()["metadata"]["name"], "-o", "json").stdout)
    states = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert states["Established"] == states["NamesAccepted"] == "True"
    assert states.get("NonStructuralSchema", "False") == "False"
    for kept in ("x-kubernetes-validations", "selectableFields"):
        assert json.dumps(crd["spec"]).count(kept) == json.dumps(build_crd()["spec"]).count(kept)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_sample_is_accepted(server: ApiServer, sample: Path) -> None:
    applied = server.kubectl("apply", "--validate=strict", "--dry-run=server", "-f", str(sample))
    assert applied.returncode == 0, applied.stderr


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("spec.profiling.schedule.skipFirst", "Steps before all else. Default: 10."),
        ("spec.outputs.claimName", "An existing claim."),
        ("spec.strategy", "How the workers cooperate."),
        ("status.failure", "first failing rank"),
        ("status.failure.logTail", "last log lines"),
        ("status.failure.hint", "what to do"),
        ("spec.watchdog.hangSeconds", "No step for so long is a hang"),
    ],
)
def test_explain_is_the_reference(server: ApiServer, field: str, said: str) -> None:
    explained = server.kubectl("explain", f"ftj.{field}")
    assert explained.returncode == 0, explained.stderr
    assert said in " ".join(explained.stdout.split())


def test_every_field_can_be_explained(server: ApiServer) -> None:
    explained = server.kubectl("explain", "ftj", "--recursive")
    assert explained.returncode == 0, explained.stderr
    for name in ("processesPerWorker", "topologyKey", "retryExitCodes", "succeededIndexes", "stragglers"):
        assert name in explained.stdout


def test_columns_show_the_display_of_the_status(server: ApiServer, client: Client) -> None:
    created = client.send("POST", JOBS, job("columns"))
    assert created.code == 201, created.message
    status = {
        "phase": "Running",
        "display": {"workers": "2/2", "progress": "40%", "eta": "3m", "restarts": "1"},
        "progress": {"step": 20, "metrics": {"loss": 0.3}},
    }
    patched = client.send(
        "PATCH",
        f"{JOBS}/columns/status",
        {"status": status},
        content_type="application/merge-patch+json",
        fieldValidation="Strict",
    )
    assert patched.code == 200, patched.message
    header, row = server.kubectl("get", "ftj", "columns").stdout.splitlines()
    assert header.split() == ["NAME", "STRATEGY", "PHASE", "WORKERS", "PROGRESS", "ETA", "RESTARTS", "AGE"]
    assert row.split()[:-1] == ["columns", "Horovod", "Running", "2/2", "40%", "3m", "1"]
    selected = server.kubectl("get", "ftj", "--field-selector", "status.phase=Running", "-o", "name").stdout
    assert selected.split() == ["frameworktrainingjob.ftjob.dev/columns"]
    client.send("DELETE", f"{JOBS}/columns")


def test_template_is_kept_as_it_is_written(client: Client) -> None:
    body = job("kept")
    body["spec"]["template"]["spec"]["containers"][0]["resorces"] = {"limits": {"nvidia.com/gpu": 1}}
    created = client.send("POST", JOBS, body)
    assert created.code == 201, created.message
    assert created.body["spec"] == body["spec"]
    client.send("DELETE", f"{JOBS}/kept")


class TestAfterTheStart:
    """What may be edited once pods exist, and what a user hears about all else."""

    @pytest.fixture
    def started(self, client: Client) -> str:
        client.send("DELETE", f"{JOBS}/started")
        assert client.send("POST", JOBS, job("started")).code == 201
        self.patch(client, {"status": {"startTime": "2026-01-01T00:00:00Z"}}, subresource="/status")
        return "started"

    def patch(self, client: Client, body: dict[str, object], subresource: str = "") -> tuple[int, str]:
        answer = client.send(
            "PATCH", f"{JOBS}/started{subresource}", body, content_type="application/merge-patch+json"
        )
        return answer.code, answer.message

    @pytest.mark.parametrize(
        "change",
        [
            {"workers": 3},
            {"processesPerWorker": 4},
            {"template": {"spec": {"priority": 1}}},
            {"success": "Worker0"},
            {"cleanPods": "All"},
            {"outputs": {"size": "1Gi"}},
            {"scheduling": {"priorityClassName": "high"}},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_is_frozen(self, client: Client, started: str, change: dict[str, object]) -> None:
        name = next(iter(change))
        code, message = self.patch(client, {"spec": change})
        assert code == 422
        assert f"spec: Forbidden: {name} can't be changed after the job has started" in message
        assert "apply it under another name" in message

    def test_profiling_may_change(self, client: Client, started: str) -> None:
        code, message = self.patch(client, {"spec": {"profiling": {"ranks": "0"}}})
        assert code == 200, message

    def test_status_may_change(self, client: Client, started: str) -> None:
        code, message = self.patch(client, {"status": {"phase": "Running", "attempt": 0}}, "/status")
        assert code == 200, message


@pytest.mark.parametrize("name", IMMUTABLE)
def test_identity_of_a_job_never_changes(client: Client, name: str) -> None:
    assert client.send("POST", JOBS, job("fixed")).code == 201
    other = {"strategy": "Plain", "managedBy": "example.com/other"}[name]
    answer = client.send(
        "PATCH", f"{JOBS}/fixed", {"spec": {name: other}}, content_type="application/merge-patch+json"
    )
    assert answer.code == 422
    assert f"spec.{name}: Forbidden: {name} can't be changed" in answer.message
    client.send("DELETE", f"{JOBS}/fixed")


def test_writing_out_the_default_controller_changes_nothing(client: Client) -> None:
    assert client.send("POST", JOBS, job("default")).code == 201
    for value in ("ftjob.dev/operator", None):
        answer = client.send(
            "PATCH",
            f"{JOBS}/default",
            {"spec": {"managedBy": value}},
            content_type="application/merge-patch+json",
        )
        assert answer.code == 200, answer.message
    client.send("DELETE", f"{JOBS}/default")


def test_an_invalid_job_may_be_corrected_before_its_start(client: Client) -> None:
    assert client.send("POST", JOBS, job("corrected")).code == 201
    body = {"spec": {"workers": 3, "processesPerWorker": 1, "template": {"spec": {"priority": 1}}}}
    answer = client.send("PATCH", f"{JOBS}/corrected", body, content_type="application/merge-patch+json")
    assert answer.code == 200, answer.message
    client.send("DELETE", f"{JOBS}/corrected")


def test_committed_samples_exist() -> None:
    assert {yaml.safe_load(path.read_text())["kind"] for path in SAMPLES} == {"FrameworkTrainingJob"}
