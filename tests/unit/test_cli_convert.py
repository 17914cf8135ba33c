"""`ftjob convert`: jobs on stdout, notes on stderr, and nothing at all on stdout if one job is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from support.api_fake import running_fake

from ftjob.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

JAX = """\
apiVersion: kubeflow.org/v1
kind: JAXJob
metadata: {name: NAME}
spec:
  jaxReplicaSpecs:
    Worker: {replicas: 2, template: {spec: {containers: [{name: jax, image: a, command: [python, t.py]}]}}}
"""
TRAIN = """\
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata: {name: tune}
spec: {runtimeRef: {name: ours}, trainer: {numNodes: 2, command: [python, t.py]}}
"""
RUNTIME = """\
apiVersion: trainer.kubeflow.org/v1alpha1
kind: ClusterTrainingRuntime
metadata: {name: ours}
spec:
  mlPolicy: {numNodes: 1, jax: {}}
  template:
    spec:
      replicatedJobs:
        - {name: node, template: {spec: {template: {spec: {containers: [{name: node, image: base}]}}}}}
"""
BOMB = "a: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: data}\n"


def written(folder: Path, text: str, name: str = "job.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_jobs_of_several_files_and_documents_are_written_with_their_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = written(tmp_path, f"{JAX.replace('NAME', 'a')}---\n{CONFIG}---\n{JAX.replace('NAME', 'b')}")
    two = written(tmp_path, f"{RUNTIME}---\n{TRAIN}", "two.yaml")
    assert main(["convert", one, two]) == 0
    out, err = capsys.readouterr()
    assert [(job["metadata"]["name"], job["spec"]["strategy"]) for job in yaml.safe_load_all(out)] == [
        ("a", "JAX"),
        ("b", "JAX"),
        ("tune", "JAX"),
    ]
    assert "a ConfigMap is no job" in err
    assert "# changed: restart.limit" in out
    assert main(["validate", written(tmp_path, out, "out.yaml")]) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: [", "not YAML"),
        (BOMB, "write fewer aliases"),
        ("[" * 10_000, "write fewer values and levels"),
        ("- a\n", "not an object"),
        ("", "no job to convert"),
        (CONFIG, "no job to convert"),
        ("metadata: {}\n", "kind or apiVersion is missing"),
        (f"{JAX.replace('NAME', 'a')}---\n{JAX.replace('name: NAME', '')}", "metadata.name: it is missing"),
        ("apiVersion: v1\nkind: List\nitems: [3]\n", "is no object"),
        (TRAIN, "--runtime FILE"),
        (JAX.replace("replicas: 2", "replicas: -1"), "is not a number"),
        (JAX.replace("NAME", '"a\\e[2Jb"'), "metadata.name"),
    ],
)
def test_what_can_not_be_converted_leaves_nothing_on_stdout(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", written(tmp_path, text)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "\x1b" not in err


def test_items_of_a_list_are_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [yaml.safe_load(JAX.replace("NAME", name)) for name in "ab"]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    assert main(["convert", written(tmp_path, text)]) == 0
    assert len(list(yaml.safe_load_all(capsys.readouterr().out))) == 2


def test_strict_is_unhappy_about_what_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, JAX.replace("NAME", "a").replace("spec:\n", "spec:\n  shiny: 1\n", 1))
    assert [main(["convert", *options, file]) for options in ([], ["--strict"])] == [0, 2]
    assert "dropped: spec.shiny" in capsys.readouterr().out


def test_runtimes_come_from_a_file_or_from_the_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, runtime = written(tmp_path, TRAIN), written(tmp_path, RUNTIME, "runtime.yaml")
    assert main(["convert", job, "--runtime", runtime]) == 0
    by_file = capsys.readouterr().out
    with running_fake(tmp_path) as (server, kubeconfig):
        path = "/apis/trainer.kubeflow.org/v1alpha1/clustertrainingruntimes/ours"
        server.objects[path] = yaml.safe_load(RUNTIME)
        there = ["convert", job, "--from-cluster", "--kubeconfig", str(kubeconfig)]
        assert main(there) == 0
        assert capsys.readouterr().out == by_file
        server.refusals["GET", path] = (403, "forbidden for you")
        assert main(there) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "ClusterTrainingRuntime ours: forbidden for you" in err
    assert "or give its YAML by --runtime" in err


def test_other_verbs_name_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, JAX.replace("NAME", "a"))
    assert main(["validate", file]) == 2
    assert f"`ftjob convert {file}`" in capsys.readouterr().err
