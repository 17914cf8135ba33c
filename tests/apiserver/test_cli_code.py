"""`ftjob submit --code` and a real API server: the ConfigMap, whose it is, and what a death midway leaves."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.apiserver import NEWEST, ApiServer
from support.control_cluster import Manifest, Namespace, plain_job, running_kubelet, running_operator

from ftjob.client import Client, JobInvalid, bring_code
from ftjob.client.errors import Conflict
from ftjob.code.pack import pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

IMAGE = ("--image", "example/train", "--name", "digits")
COMMAND = ("--", "python", "train.py")
DIES = """
import os, sys
from ftjob.cli.main import main
from ftjob.client import bring_code
from ftjob.client.cluster import Cluster
setattr({owner}, {name!r}, lambda *_args, **_query: os.kill(os.getpid(), 9))
main(sys.argv[1:])
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text("print('edited')")
    return folder


def brought(space: Namespace) -> list[Manifest]:
    """Return the ConfigMaps with code."""
    found = space.list("configmaps")
    return [each for each in found if "code.tar.gz" in (each.get("binaryData") or {})]


def owners(config_map: Manifest) -> list[str]:
    return [owner["uid"] for owner in config_map["metadata"].get("ownerReferences") or []]


def test_code_is_in_a_config_map_of_the_job_that_its_pods_mount_and_a_rerun_shares_it(
    ftjob: Callable[..., tuple[int, str, str]],
    server: ApiServer,
    space: Namespace,
    code: Path,
    tmp_path: Path,
) -> None:
    with (
        running_kubelet(server, space.name) as kubelet,
        running_operator(server, tmp_path, namespace=space.name),
    ):
        said, out, err = ftjob("submit", *IMAGE, "--code", str(code), "--detach", *COMMAND)
        assert (said, out) == (0, "digits\n"), err
        job = space.await_pods()
        [kept] = brought(space)
        named = job["spec"]["code"]
        content = base64.b64decode(kept["binaryData"]["code.tar.gz"])
        assert content == pack(code).content
        assert named["sha256"] == hashlib.sha256(content).hexdigest()
        assert kept["metadata"]["name"] == named["configMap"] == f"digits-code-{named['sha256'][:8]}"
        assert kept["immutable"] is True
        assert owners(kept) == [job["metadata"]["uid"]]
        for pod in space.pods().values():
            [volume] = [each for each in pod["spec"]["volumes"] if each["name"] == "ftjob-agent"]
            names = [each.get("configMap", {}).get("name") for each in volume["projected"]["sources"]]
            assert named["configMap"] in names
        kubelet.finish()
        assert ftjob("wait", "digits")[0] == 0
        said, out, err = ftjob("rerun", "digits")
        assert said == 0, err
        again = space.await_pods(out.strip())
        followed = (*IMAGE[:-1], "followed", "--code", str(code), *COMMAND)
        said, _, err = ftjob("submit", *followed)
        assert said == 0, err
        assert "Suspended" not in err, "that was while the code was on the way"
    assert again["spec"]["code"] == named
    [kept] = [each for each in brought(space) if each["metadata"]["name"] == named["configMap"]]
    assert owners(kept) == [job["metadata"]["uid"], again["metadata"]["uid"]]


def test_from_python_a_file_and_a_folder_are_enough(
    server: ApiServer, space: Namespace, code: Path, tmp_path: Path
) -> None:
    client = Client(space.name, kubeconfig=str(server.kubeconfig))
    body = plain_job("digits", space.name, suspend=True)
    body["metadata"]["annotations"] = {"since": "2026-11-30"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(body).replace("'", ""))
    job = client.submit(tmp_path / "job.yaml", code=code)
    assert job.body["spec"]["suspend"] is True, "as the file says"
    assert job.body["metadata"]["annotations"]["since"] == "2026-11-30"
    assert owners(brought(space)[0]) == [job.uid]
    with pytest.raises(JobInvalid, match="it is no folder"):
        client.submit(body, code="nosuch")
    del body["metadata"]["name"]
    with pytest.raises(JobInvalid, match=r"metadata\.name"):
        client.submit(body, code=code)


def test_a_name_that_is_taken_changes_nothing_of_the_job_that_has_it(
    ftjob: Callable[..., tuple[int, str, str]], space: Namespace, code: Path
) -> None:
    words = (*IMAGE, "--code", str(code), "--detach", *COMMAND)
    assert ftjob("submit", *words)[0] == 0
    before = brought(space)
    (code / "train.py").write_text("print('edited again')")
    for _ in range(2):
        said, _, err = ftjob("submit", *words)
        assert (said, "already exists" in err) == (3, True)
        assert brought(space) == before
    assert len(space.list("frameworktrainingjobs")) == 1


def test_a_config_map_with_other_content_is_not_taken_for_the_code(
    ftjob: Callable[..., tuple[int, str, str]], server: ApiServer, space: Namespace, code: Path
) -> None:
    archive = pack(code)
    body = plain_job("digits", space.name, code=archive.reference("digits"))
    other = bring_code.config_map(body, archive)
    del other["immutable"]
    other["binaryData"]["code.tar.gz"] = base64.b64encode(b"evil").decode()
    space.create("configmaps", other)
    said, _, err = ftjob("submit", *IMAGE, "--code", str(code), "--detach", *COMMAND)
    assert (said, "with other code; delete it, or name the job otherwise" in err) == (3, True)
    cluster = Client(space.name, kubeconfig=str(server.kubeconfig))
    with pytest.raises(Conflict, match="with other code"):
        cluster.submit(body, code=archive)  # without asking first
    assert space.list("frameworktrainingjobs") == [], "it was deleted again"
    assert owners(brought(space)[0]) == []


@pytest.mark.parametrize(
    ("owner", "name", "left"), [("bring_code", "_keep", 0), ("Cluster", "patch", 1)], ids=["before", "after"]
)
def test_a_death_around_the_config_map_leaves_a_suspended_job_and_nothing_without_an_owner(
    ftjob: Callable[..., tuple[int, str, str]],
    server: ApiServer,
    space: Namespace,
    code: Path,
    owner: str,
    name: str,
    left: int,
) -> None:
    words = ["submit", "-n", space.name, *IMAGE, "--code", str(code), "--detach", *COMMAND]
    program = DIES.format(owner=owner, name=name)
    env = os.environ | {"KUBECONFIG": str(server.kubeconfig)}
    died = subprocess.run([sys.executable, "-c", program, *words], env=env, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    job = space.job()
    assert job["spec"]["suspend"] is True
    assert [owners(each) for each in brought(space)] == [[job["metadata"]["uid"]]] * left
    assert ftjob("delete", "-y", "digits")[0] == 0
    assert ftjob(*(word for word in words if word not in {"-n", space.name}))[0] == 0
    assert space.job()["spec"]["suspend"] is False
    assert space.job()["metadata"]["uid"] in owners(brought(space)[0])


def test_ctrl_c_before_the_config_map_takes_the_job_back(
    ftjob: Callable[..., tuple[int, str, str]],
    space: Namespace,
    code: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bring_code, "_keep", interrupt)
    assert ftjob("submit", *IMAGE, "--code", str(code), *COMMAND)[0] == 130
    assert space.list("frameworktrainingjobs") == []


def test_a_rerun_without_the_code_is_refused_and_one_of_others_config_map_does_not_own_it(
    ftjob: Callable[..., tuple[int, str, str]], space: Namespace, code: Path
) -> None:
    archive = pack(code)
    body = space.submit(code={"configMap": "shared", "sha256": archive.sha256})
    said, _, err = ftjob("rerun", "digits")
    assert (said, "there is no ConfigMap shared in namespace" in err) == (2, True)
    theirs = bring_code.config_map(body, archive)
    del theirs["metadata"]["labels"], theirs["metadata"]["ownerReferences"]
    space.create("configmaps", theirs)
    assert ftjob("rerun", "digits")[0] == 0
    assert owners(brought(space)[0]) == [], "it goes when they want it to"
