"""A new strategy is one file and one line: a copy of the sources gets one, and all of ftjob knows it."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.local_run import plain_job, run

REPO = Path(__file__).parents[2]
REGISTRY = "ftjob/strategies/__init__.py"
LINE = '    "ftjob.strategies.scatter:Scatter",\n'
STRATEGY = '''\
"""Workers that ask a scheduler for work."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ftjob.models.spec import SuccessPolicy
from ftjob.strategies.base import Family, Processes, Strategy
from ftjob_protocol.variables import LEADER_IP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace


class Scatter(Strategy):
    """Workers that ask the chief for work."""

    name: ClassVar[str] = "Scatter"
    processes: ClassVar[Processes] = Processes.ONE
    roles: ClassVar[Mapping[str, int]] = {"chief": 1}
    success: ClassVar[SuccessPolicy] = SuccessPolicy.CHIEF
    others_end: ClassVar[bool] = False
    identity: ClassVar[tuple[Family, ...]] = (Family("Scatter", ("SCATTER_ADDRESS",)),)

    def default_workers(self, spec: object) -> int:
        """Return how many there are if the spec does not say."""
        return 2

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return where the scheduler listens."""
        return {"SCATTER_ADDRESS": f"{LEADER_IP}:{layout.rendezvous_port}"}
'''

ASKS_FOR_WORK = """
import os, signal, socket
host, _, port = os.environ["SCATTER_ADDRESS"].partition(":")
if os.environ["FTJOB_ROLE"] == "chief":
    with socket.create_server((host, int(port))) as server:
        for _ in range(2):
            server.accept()[0].makefile().readline()
    print("work is done")
else:
    while True:
        try:
            socket.create_connection((host, int(port))).sendall(b"ready\\n")
            break
        except ConnectionRefusedError:
            continue
    signal.pause()
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the sources with the new strategy."""
    copy = tmp_path_factory.mktemp("checkout") / "operator"
    shutil.copytree(REPO / "operator", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("docs", "tools"):
        shutil.copytree(REPO / folder, copy.parent / folder)
    shutil.copy(REPO / "pyproject.toml", copy.parent)
    (copy / "ftjob/strategies/scatter.py").write_text(STRATEGY)
    registry = copy / REGISTRY
    registry.write_text(registry.read_text().replace("\n)\n", f"\n{LINE})\n", 1))
    return copy


def scatter(**spec: Any) -> dict[str, Any]:
    job = plain_job(ASKS_FOR_WORK)
    job["spec"] = {"strategy": "Scatter", "template": job["spec"]["template"], **spec}
    return job


def ftjob(sources: Path, *arguments: str, job: dict[str, Any] | None = None) -> tuple[int, str, str]:
    """Run a command of ftjob; return its exit code, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "ftjob.cli.main", *arguments],
        env=os.environ | {"PYTHONPATH": str(sources)},
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        cwd=sources,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_it_is_one_file_and_one_line(sources: Path) -> None:
    def read(root: Path) -> dict[str, str]:
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}

    old, new = read(REPO / "operator"), read(sources)
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    assert changed == [REGISTRY, "ftjob/strategies/scatter.py"]
    assert changed[1] not in old
    delta = difflib.ndiff(old[REGISTRY].splitlines(keepends=True), new[REGISTRY].splitlines(keepends=True))
    assert [line for line in delta if line[0] != " "] == [f"+ {LINE}"]


def test_nobody_else_knows_it() -> None:
    code, _, said = ftjob(REPO / "operator", "validate", "-", job=scatter())
    assert code == 2
    assert 'spec.strategy: "Scatter" is not allowed; write one of Horovod, ' in said


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"success": "AllWorkers"},
            "spec.success: of the strategies ParameterServer and Scatter only the chief ends by itself",
        ),
        ({"roles": {"ps": {}}}, "spec.roles.ps: only strategy ParameterServer has role ps; remove roles.ps"),
        ({"elastic": {"minWorkers": 1, "maxWorkers": 2}, "workers": 2}, "spec.elastic: only the strategies "),
        ({"roles": {"chief": {"replicas": 2}}}, "ParameterServer and Scatter have at most one chief"),
        (
            {
                "template": plain_job("", env=[{"name": "SCATTER_ADDRESS", "value": "a:1"}])["spec"][
                    "template"
                ]
            },
            "the trainer's env sets SCATTER_ADDRESS, which tells a rank who it is",
        ),
    ],
    ids=["success", "role", "elastic", "chiefs", "identity"],
)
def test_what_it_can_not_do_is_refused(sources: Path, fields: dict[str, Any], problem: str) -> None:
    code, _, said = ftjob(sources, "validate", "-", job=scatter(**fields))
    assert code == 2
    assert problem in said
    assert len(said.splitlines()) == 1


def test_what_it_can_do_is_valid(sources: Path) -> None:
    whole = scatter(workers=3, success="Chief", processesPerWorker=2, roles={"chief": {"replicas": 1}})
    for job in (scatter(), whole):
        code, _, said = ftjob(sources, "validate", "-", job=job)
        assert (code, said) == (0, "")


def test_the_crd_has_it(sources: Path) -> None:
    known, found = (
        yaml.safe_load(ftjob(each, "crd")[1])["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
            "properties"
        ]
        for each in (REPO / "operator", sources)
    )
    names = [each["spec"]["properties"]["strategy"]["enum"] for each in (known, found)]
    assert names[1] == [*names[0], "Scatter"]
    described = found["spec"]["properties"]["roles"]["description"]
    assert described == "Roles beside worker (ParameterServer, Scatter only)."
    rules = {rule["rule"] for rule in found["spec"]["x-kubernetes-validations"]}
    assert "!(self.strategy in ['Scatter']) || !self.?roles.?ps.hasValue()" in rules
    assert "self.strategy in ['ParameterServer', 'Scatter'] || !has(self.roles)" in rules


def test_it_is_planned(sources: Path) -> None:
    code, shown, said = ftjob(sources, "render", "-", job=scatter())
    assert code == 0, said
    pods = [each for each in yaml.safe_load_all(shown) if each["kind"] == "Pod"]
    assert [pod["metadata"]["name"] for pod in pods] == ["job-chief-0-0", "job-worker-0-0", "job-worker-0-1"]
    assert {pod["metadata"]["labels"]["ftjob.dev/strategy"] for pod in pods} == {"Scatter"}
    for pod in pods:
        variables = {item["name"]: item.get("value") for item in pod["spec"]["containers"][0]["env"]}
        told = json.loads(str(variables["FTJOB_AGENT_CONFIG"]).replace("$$(", "$("))
        assert told["env"]["SCATTER_ADDRESS"].startswith("@LEADER_IP@:")
        assert "SCATTER_ADDRESS" in told["identity"]


def test_it_runs(sources: Path, tmp_path: Path) -> None:
    ran = run(scatter(), tmp_path, PYTHONPATH=str(sources))
    assert ran.code == 0, ran.stdout + ran.stderr
    assert ran.status["phase"] == "Succeeded"
    assert "work is done" in ran.log(0)
    counted = {role["name"]: (role["succeeded"], role["failed"]) for role in ran.status["roles"]}
    assert counted == {"chief": (1, 0), "worker": (0, 0)}


def test_the_documentation_lists_it(sources: Path) -> None:
    root = sources.parent
    environ = os.environ | {"PYTHONPATH": str(sources)}
    subprocess.run([sys.executable, "tools/docs.py"], cwd=root, env=environ, check=True, timeout=120)
    rows = [line for line in (root / "docs/strategies.md").read_text().splitlines() if "`Scatter`" in line]
    processes, success = "one, which drives all devices of the pod", "`Chief` only"
    pods = "1 `chief`, 2 `worker`"
    assert rows == [
        f"| `Scatter` | Workers that ask the chief for work. | {pods} | {processes} | {success} | no |",
        "| `Scatter` | `SCATTER_ADDRESS` |",
    ]


def test_the_layers_have_room_for_it(sources: Path) -> None:
    command = [sys.executable, "tools/house.py"]
    done = subprocess.run(
        command, cwd=sources.parent, capture_output=True, text=True, check=False, timeout=120
    )
    *faults, table = done.stdout.split("\n\n")
    assert "ftjob.strategies " in table
    assert "strategies" not in "".join(faults)
