"""The verbs for jobs in a cluster, and the kubeconfigs that people have, against a real API server."""

from __future__ import annotations

import base64
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.apiserver import NEWEST, ApiServer, Client
from support.control_cluster import Namespace, plain_job, running_kubelet, running_operator

from ftjob import client as jobs
from ftjob.cli.main import main
from ftjob.client.client import user

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)


@pytest.fixture
def file(space: Namespace, tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    body = plain_job("digits", space.name)
    del body["metadata"]["namespace"]
    path.write_text(yaml.safe_dump(body))
    return path


def test_a_job_is_submitted_listed_stopped_resumed_waited_for_run_again_and_deleted(
    ftjob: Callable[..., tuple[int, str, str]],
    server: ApiServer,
    space: Namespace,
    file: Path,
    tmp_path: Path,
) -> None:
    with (
        running_kubelet(server, space.name) as kubelet,
        running_operator(server, tmp_path, namespace=space.name),
    ):
        code, out, err = ftjob("submit", str(file), "--detach", "--set", "spec.workers=1")
        assert (code, out) == (0, "digits\n"), err
        assert space.job()["metadata"]["labels"]["ftjob.dev/user"] == user()
        space.await_pods()
        code, out, _ = ftjob("list")
        assert code == 0
        assert re.search(r"^digits +Plain +Starting +1/1 +", out, re.MULTILINE), "its pods run without agents"
        assert ftjob("stop")[0] == 0
        space.await_phase("Suspended")
        code, _, err = ftjob("wait", "digits", "--timeout", "0.5")
        assert (code, err) == (124, "digits is Suspended after 0.5 s\n")
        assert ftjob("resume", "digits")[0] == 0
        space.await_pods()
        kubelet.finish()
        assert ftjob("wait", "digits") == (0, "", "")
        kubelet.finish(exit_code=3)
        code, again, _ = ftjob("rerun", "digits", "--set", "spec.restart.limit=0")
        assert code == 0
        assert re.fullmatch(r"digits-[0-9a-f]{4}\n", again)
        space.await_pods(again.strip())
        assert space.job(again.strip())["spec"]["workers"] == 1
        code, _, err = ftjob("wait")
        assert code == 1
        assert f"{again.strip()} failed" in err
    assert ftjob("list", "-o", "name")[1].split("\n")[:2] == [
        f"frameworktrainingjobs.ftjob.dev/{again.strip()}",
        "frameworktrainingjobs.ftjob.dev/digits",
    ]
    code, _, err = ftjob("delete", "digits")
    assert (code, "nobody is there to be asked" in err) == (2, True)
    assert ftjob("delete", "-y", "digits", again.strip())[0] == 0
    assert space.list("frameworktrainingjobs") == []
    assert "no jobs in namespace" in ftjob("list")[2]


def test_a_watch_of_all_jobs_tells_each_change(
    ftjob: Callable[..., tuple[int, str, str]], server: ApiServer, space: Namespace, file: Path
) -> None:
    watch = jobs.Client(space.name).watch()
    assert next(watch) == []
    assert ftjob("submit", str(file), "--detach")[0] == 0
    (found,) = next(watch)
    assert found.status.phase is None
    assert ftjob("stop", "digits")[0] == 0
    assert next(watch)[0].body["spec"]["suspend"] is True
    assert ftjob("delete", "-y", "digits")[0] == 0
    assert next(watch) == []


@pytest.mark.parametrize("exit_code", [0, 3])
def test_submit_follows_a_job_to_its_end_and_takes_its_exit_code(
    ftjob: Callable[..., tuple[int, str, str]],
    server: ApiServer,
    space: Namespace,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exit_code: int,
) -> None:
    monkeypatch.setattr("ftjob.client.logs.reader.PAUSE_SECONDS", 0.05)  # no kubelet has any log
    with (
        running_kubelet(server, space.name) as kubelet,
        running_operator(server, tmp_path, namespace=space.name),
    ):
        kubelet.finish(exit_code=exit_code)
        code, out, err = ftjob("submit", str(file), "--set", "spec.restart.limit=0")
        phase = "Failed" if exit_code else "Succeeded"
        assert (code, out, f"ftjob: {phase}" in err) == (int(bool(exit_code)), "", True), err
        assert "digits was created" in err
        assert "digits-worker-0-0" in err
        assert ftjob("logs", "--no-follow")[0] == code


def test_a_job_that_can_not_be_is_refused_before_it_is_created(
    ftjob: Callable[..., tuple[int, str, str]], space: Namespace, file: Path
) -> None:
    code, _, err = ftjob("submit", str(file), "--set", "spec.workers=-1")
    assert code == 2
    assert "spec.workers" in err
    code, _, err = ftjob("submit", str(file), "--set", "spec.strategy=Plane")
    assert code == 2
    code, _, err = ftjob("submit", str(file), "--set", "workers=3")
    assert (code, err) == (2, "--set workers=3: write a field and its value, as spec.workers=4\n")
    code, out, _ = ftjob("submit", str(file), "--dry-run", "--set", "spec.workers=3")
    assert (code, yaml.safe_load(out)["spec"]["workers"]) == (0, 3)
    assert space.list("frameworktrainingjobs") == []
    assert ftjob("submit", str(file), "--detach")[0] == 0
    code, _, err = ftjob("submit", str(file), "--detach")
    assert code == 3
    assert "already exists" in err


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (None, "It has no outputs"),
        ({}, "stay in the claim digits-outputs"),
        ({"claimName": "team"}, "stay in the claim team"),
        ({"whenDeleted": "Delete"}, "go with the claim digits-outputs"),
    ],
)
def test_delete_says_what_becomes_of_the_outputs(
    ftjob: Callable[..., tuple[int, str, str]], space: Namespace, outputs: dict[str, str] | None, said: str
) -> None:
    spec: dict[str, Any] = {} if outputs is None else {"outputs": outputs}
    space.submit(**spec)
    code, out, _ = ftjob("delete", "-y", "digits")
    assert code == 0
    assert said in out


@pytest.mark.parametrize("verb", ["wait", "stop", "resume", "rerun"])
def test_a_job_that_is_not_there_is_said_to_be_so(
    ftjob: Callable[..., tuple[int, str, str]], verb: str
) -> None:
    code, _, err = ftjob(verb, "nosuch")
    assert code == 3
    assert 'frameworktrainingjobs.ftjob.dev "nosuch" not found; `ftjob list` shows what there is' in err
    code, _, err = ftjob(verb)
    assert code == 3
    assert "no job of" in err


EXEC = """\
import json, sys
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {{"token": {token!r}}}}}))
"""


def _users(server: ApiServer, folder: Path) -> dict[str, dict[str, Any]]:
    (folder / "token").write_text(server.token)
    (folder / "plugin.py").write_text(EXEC.format(token=server.token))
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(folder / "plugin.py")],
        "interactiveMode": "Never",
    }
    return {
        "token": {"token": server.token},
        "tokenFile": {"tokenFile": str(folder / "token")},
        "exec": {"exec": plugin},
    }


@pytest.mark.parametrize("kind", ["token", "tokenFile", "exec", "two files", "authority inside"])
def test_kubeconfigs_of_all_kinds_lead_to_the_cluster(
    server: ApiServer,
    space: Namespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    config = json.loads(server.kubeconfig.read_text())
    config["users"][0]["user"] = _users(server, tmp_path).get(kind, {"token": server.token})
    config["contexts"][0]["context"]["namespace"] = space.name
    cluster = config["clusters"][0]["cluster"]
    if kind == "authority inside":
        authority = server.ca_file.read_bytes()
        del cluster["certificate-authority"]
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    paths = [tmp_path / "kubeconfig"]
    if kind == "two files":
        paths.append(tmp_path / "users")
        paths[1].write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "users": config.pop("users")}))
    paths[0].write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, paths)))
    space.submit(labels={})
    assert main(["list"]) == 0
    assert "digits" in capsys.readouterr().out


def test_what_keeps_a_user_from_the_cluster_is_named_with_its_remedy(
    server: ApiServer,
    space: Namespace,
    client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))

    def said(**changes: Any) -> str:
        config = json.loads(server.kubeconfig.read_text())
        config["users"][0]["user"] |= changes.get("user", {})
        config["clusters"][0]["cluster"] |= changes.get("cluster", {})
        path.write_text(changes.get("text") or json.dumps(config))
        assert main(["list", "-n", space.name, *changes.get("words", [])]) == 3
        return capsys.readouterr().err

    account = f"/api/v1/namespaces/{space.name}/serviceaccounts"
    client.send("POST", account, {"metadata": {"name": "nobody"}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = client.send("POST", f"{account}/nobody/token", request).body["status"]["token"]
    assert "ask whoever runs the cluster for a role" in said(user={"token": token})
    assert "renew your login" in said(user={"token": "stale"})
    assert "has no such context; it has ftjob-test" in said(words=["--context", "production"])
    assert "can't be reached" in said(cluster={"server": "https://127.0.0.1:1"})
    assert "name a kubeconfig by --kubeconfig" in said(text="[")
    assert "name a kubeconfig by --kubeconfig" in said(words=["--kubeconfig", str(tmp_path / "nosuch")])
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "no-such-plugin",
        "interactiveMode": "Never",
    }
    assert "no-such-plugin" in said(user={"token": None, "exec": plugin})
