"""The rules by which jobs of other operators become ours, kind by kind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from ftjob.cli.source import _Loader
from ftjob.convert.convert import CONVERTERS, NO_STRATEGY, Converted, convert
from ftjob.convert.draft import NoteKind, Options, RefusedError
from ftjob.convert.text import as_yaml

Manifest = dict[str, Any]


def template(*command: str, name: str = "any", **trainer: Any) -> Manifest:
    container = {
        "name": name,
        "image": "train:1",
        **({"command": list(command)} if command else {}),
        **trainer,
    }
    return {"spec": {"containers": [container]}}


def kubeflow(kind: str, key: str, roles: Manifest, **spec: Any) -> Manifest:
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": kind,
        "metadata": {"name": "train"},
        "spec": {**spec, key: roles},
    }


def torch_job(*command: str, workers: int = 2, trainer: Manifest | None = None, **spec: Any) -> Manifest:
    one = template(*command, **(trainer or {}))
    roles = {
        "Master": {"replicas": 1, "template": one},
        "Worker": {"replicas": workers - 1, "template": copy.deepcopy(one)},
    }
    return kubeflow("PyTorchJob", "pytorchReplicaSpecs", roles, **spec)


def mpi_job(*command: str, workers: int = 2, slots: int = 1, **spec: Any) -> Manifest:
    roles = {
        "Launcher": {"replicas": 1, "template": template(*command)},
        "Worker": {"replicas": workers, "template": template("/usr/sbin/sshd", "-De")},
    }
    return kubeflow("MPIJob", "mpiReplicaSpecs", roles, slotsPerWorker=slots, **spec)


def tf_job(**roles: int) -> Manifest:
    specs = {
        role: {"replicas": count, "restartPolicy": "Never", "template": template("python", f"{role}.py")}
        for role, count in roles.items()
    }
    if "Chief" in specs and "PS" not in specs:
        specs["Chief"]["template"] = specs["Worker"]["template"]
    return kubeflow("TFJob", "tfReplicaSpecs", specs)


def jobset(
    *command: str, trainer: Manifest | None = None, pod: Manifest | None = None, pods: int = 4
) -> Manifest:
    one = template(*command, **(trainer or {}))
    one["spec"] |= pod or {}
    job = {"parallelism": pods, "completions": pods, "backoffLimit": 0, "template": one}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": "train"},
        "spec": {"replicatedJobs": [{"name": "workers", "replicas": 1, "template": {"spec": job}}]},
    }


def train_job(**spec: Any) -> Manifest:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "train"},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, **spec},
    }


def spec_of(body: Manifest, **options: Any) -> Manifest:
    spec: Manifest = convert(body, Options(**options)).job["spec"]
    return spec


def command_of(spec: Manifest) -> list[str]:
    trainer = spec["template"]["spec"]["containers"][0]
    return [*trainer["command"], *trainer.get("args", [])]


def refusal(body: Manifest, **options: Any) -> str:
    with pytest.raises(RefusedError) as error:
        convert(body, Options(**options))
    assert all(problem.remedy for problem in error.value.problems)
    return str(error.value)


def notes(converted: Converted, kind: NoteKind) -> str:
    return "\n".join(note.text for note in converted.notes if note.kind is kind)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["torchrun", "--nproc_per_node=2", "train.py", "--lr", "1"], ["python3", "train.py", "--lr", "1"]),
        (["torchrun", "--nnodes", "2", "-m", "my.train"], ["python3", "-m", "my.train"]),
        (["/usr/bin/torchrun", "--no-python", "bash", "run.sh"], ["bash", "run.sh"]),
        (["python", "-u", "-m", "torch.distributed.run", "t.py"], ["python", "-u", "t.py"]),
        (["python", "train.py"], ["python", "train.py"]),
    ],
)
def test_torchrun_is_taken_off(given: list[str], expected: list[str]) -> None:
    assert command_of(spec_of(torch_job(*given))) == expected


@pytest.mark.parametrize(
    ("job", "processes"),
    [
        (torch_job("torchrun", "--nproc-per-node", "4", "t.py"), 4),
        (torch_job("torchrun", "t.py", nprocPerNode="3"), 3),
        (torch_job("torchrun", "t.py", nprocPerNode="auto"), 1),
        (torch_job("torchrun", "t.py", trainer={"resources": {"limits": {"nvidia.com/gpu": 8}}}), None),
        (torch_job("python", "t.py", trainer={"resources": {"limits": {"nvidia.com/gpu": 8}}}), 1),
        (torch_job("bash", "-c", "cd /x && torchrun --nproc_per_node=8 t.py"), 1),
        (
            torch_job(
                "torchrun", "--nproc_per_node=cpu", "t.py", trainer={"resources": {"limits": {"cpu": "2"}}}
            ),
            2,
        ),
    ],
)
def test_processes_of_a_torch_worker_are_those_that_the_launcher_would_start(
    job: Manifest, processes: int | None
) -> None:
    spec = spec_of(job)
    assert (spec["strategy"], spec["workers"], spec.get("processesPerWorker")) == ("Torchrun", 2, processes)


def test_elastic_policy_becomes_bounds_and_an_autoscaler() -> None:
    metric = {"type": "Resource", "resource": {"name": "cpu"}}
    policy = {
        "minReplicas": 1,
        "maxReplicas": 4,
        "maxRestarts": 7,
        "rdzvBackend": "c10d",
        "metrics": [metric],
    }
    done = convert(torch_job("torchrun", "t.py", elasticPolicy=policy), Options())
    assert done.job["spec"]["elastic"] == {"minWorkers": 1, "maxWorkers": 4}
    assert done.job["spec"]["restart"]["limit"] == 7
    assert done.beside[0]["spec"]["scaleTargetRef"]["name"] == "train"


def test_master_and_worker_that_differ_are_refused_by_the_field() -> None:
    job = torch_job("python", "t.py")
    job["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0]["image"] = "other:1"
    assert "Master.template.spec.containers[0].image" in refusal(job)


@pytest.mark.parametrize(
    ("roles", "strategy", "workers"),
    [
        ({"Worker": 1}, "Mirrored", None),
        ({"Worker": 3}, "MultiWorkerMirrored", 3),
        ({"Chief": 1, "Worker": 2}, "MultiWorkerMirrored", 3),
        ({"Worker": 2, "PS": 1}, "ParameterServer", 2),
    ],
)
def test_tensorflow_strategy_follows_from_the_roles(
    roles: dict[str, int], strategy: str, workers: int | None
) -> None:
    spec = spec_of(tf_job(**roles))
    assert (spec["strategy"], spec.get("workers")) == (strategy, workers)
    assert "restart" not in spec


def test_parameter_servers_keep_their_own_template_and_no_chief_is_added() -> None:
    roles = spec_of(tf_job(Worker=2, PS=1))["roles"]
    assert roles["chief"] == {"replicas": 0}
    assert roles["ps"]["template"]["spec"]["containers"][0]["command"] == ["python", "PS.py"]


def test_evaluator_without_parameter_servers_is_refused() -> None:
    assert "Evaluator" in refusal(tf_job(Worker=2, Evaluator=1))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["mpirun", "-np", "4", "--bind-to", "none", "-mca", "btl", "^openib", "python", "t.py"], 2),
        (["sh", "-c", "mpirun -np 4 \\\n  python t.py"], 2),
        (["mpirun", "-np", "2", "python", "t.py"], 1),
        (["horovodrun", "-np", "4", "-H", "a:2,b:2", "python", "t.py"], 2),
    ],
)
def test_mpirun_is_taken_off_and_its_ranks_fill_workers(given: list[str], expected: int) -> None:
    spec = spec_of(mpi_job(*given, slots=2))
    assert (spec["strategy"], spec["workers"], spec["processesPerWorker"]) == ("Horovod", expected, 2)
    assert command_of(spec) == ["python", "t.py"]
    assert spec["restart"]["limit"] == 6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["mpirun", "/home/pi"], "no Python program"),
        (["mpirun", "--shiny", "python", "t.py"], "--shiny is no known option"),
        (["mpirun", "-np", "3", "python", "t.py"], "do not fill whole workers"),
        (["sh", "-c", "mpirun python a.py && mpirun python b.py"], "more than one plain call"),
        (["mpirun", "python", "a.py", ":", "python", "b.py"], "several programs"),
        (["python", "t.py"], "neither mpirun nor horovodrun"),
    ],
)
def test_mpi_commands_that_would_become_something_else_are_refused(given: list[str], said: str) -> None:
    assert said in refusal(mpi_job(*given, slots=2))


def test_mpirun_passes_variables_on() -> None:
    job = mpi_job("mpirun", "-x", "A=1", "-x", "B", "-x", "PATH", "python", "t.py")
    launcher = job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
    launcher["env"] = [{"name": "B", "value": "2"}, {"name": "C", "value": "3"}]
    done = convert(job, Options())
    env = done.job["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert "Launcher env C" in notes(done, NoteKind.DROPPED)


def test_horovodrun_with_bounds_is_elastic() -> None:
    job = mpi_job(
        "horovodrun", "--min-np", "2", "--max-np", "7", "--cycle-time-ms", "2", "python", "t.py", slots=2
    )
    spec = spec_of(job)
    assert spec["elastic"] == {"minWorkers": 1, "maxWorkers": 4}
    assert {"name": "HOROVOD_CYCLE_TIME", "value": "2"} in spec["template"]["spec"]["containers"][0]["env"]


def test_launcher_that_works_is_a_worker_more_and_torch_is_asked_for() -> None:
    spec = spec_of(mpi_job("mpirun", "python", "t.py", runLauncherAsWorker=True), strategy="Torchrun")
    assert (spec["strategy"], spec["workers"]) == ("Torchrun", 3)


def test_jax_job_keeps_its_workers() -> None:
    job = kubeflow(
        "JAXJob", "jaxReplicaSpecs", {"Worker": {"replicas": 3, "template": template("python", "t.py")}}
    )
    spec = spec_of(job)
    assert (spec["strategy"], spec["workers"], "processesPerWorker" in spec) == ("JAX", 3, False)


def test_train_job_is_its_runtime_with_what_it_lays_over_it() -> None:
    pod = {"spec": {"containers": [{"name": "node", "image": "base", "env": [{"name": "A", "value": "1"}]}]}}
    group = {"name": "node", "template": {"spec": {"template": pod, "backoffLimit": 0}}}
    runtime = {
        "metadata": {"name": "own"},
        "spec": {"mlPolicy": {"numNodes": 2, "torch": {}}, "template": {"spec": {"replicatedJobs": [group]}}},
    }
    over = {"spec": {"serviceAccountName": "me", "containers": [{"name": "node", "tty": True}]}}
    patched = {"replicatedJobs": [{"name": "node", "template": {"spec": {"template": over}}}]}
    job = train_job(
        runtimeRef={"name": "own"},
        trainer={"numProcPerNode": 2, "command": ["torchrun", "t.py"], "env": [{"name": "B", "value": "2"}]},
        runtimePatches=[{"trainingRuntimeSpec": {"template": {"spec": patched}}}],
    )
    spec = spec_of(job, runtimes={"own": runtime})
    trainer = spec["template"]["spec"]["containers"][0]
    assert (spec["workers"], spec["processesPerWorker"], "restart" in spec) == (2, 2, False)
    assert (trainer["image"], trainer["tty"], trainer["command"]) == ("base", True, ["python3", "t.py"])
    assert [item["name"] for item in trainer["env"]] == ["A", "B"]
    assert spec["template"]["spec"]["serviceAccountName"] == "me"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"runtimeRef": {"name": "ours"}}, "--runtime FILE"),
        ({"runtimeRef": {}}, "runtimeRef.name"),
        ({"initializer": {"dataset": {}}}, "no initializers"),
    ],
)
def test_train_jobs_that_need_more_are_refused(spec: Manifest, said: str) -> None:
    assert said in refusal(train_job(**{"trainer": {"command": ["python", "t.py"]}, **spec}))


def test_tpu_jobset_describes_its_slices() -> None:
    selector = {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
    job = jobset(
        "python",
        "t.py",
        trainer={"resources": {"limits": {"google.com/tpu": 4}}},
        pod={"nodeSelector": selector},
    )
    job["spec"]["replicatedJobs"][0]["replicas"] = 2
    spec = spec_of(job)
    assert spec["tpu"] == {
        "library": "JAX",
        "accelerator": "tpu-v6e-slice",
        "topology": "4x4",
        "chipsPerWorker": 4,
        "slices": 2,
    }
    assert spec["workers"] == 8


def test_jobset_that_does_not_show_how_it_trains_asks_for_the_strategy() -> None:
    assert "--strategy" in refusal(jobset("python", "t.py"))
    assert spec_of(jobset("python", "t.py"), strategy="Plain")["workers"] == 4


def test_jobset_of_several_groups_is_refused() -> None:
    job = jobset("python", "t.py")
    job["spec"]["replicatedJobs"].append({"name": "driver"})
    assert "several groups" in refusal(job)


@pytest.mark.parametrize("kind", sorted(NO_STRATEGY))
def test_kinds_without_a_strategy_are_refused_by_name(kind: str) -> None:
    body = {"apiVersion": "kubeflow.org/v1", "kind": kind, "metadata": {"name": "x"}, "spec": {}}
    assert "there is no strategy for" in refusal(body)


def test_missing_command_is_asked_for_and_its_arguments_follow_it() -> None:
    job = torch_job(trainer={"args": ["--backend", "gloo"]})
    assert "--command" in refusal(job)
    assert command_of(spec_of(job, command=("python3", "t.py"))) == ["python3", "t.py", "--backend", "gloo"]


def test_policies_of_a_run_are_kept() -> None:
    policy = {
        "cleanPodPolicy": "None",
        "ttlSecondsAfterFinished": 60,
        "activeDeadlineSeconds": 90,
        "backoffLimit": 3,
        "suspend": True,
        "schedulingPolicy": {"queue": "team", "priorityClass": "high"},
    }
    spec = spec_of(torch_job("python", "t.py", runPolicy=policy))
    assert (spec["cleanPods"], spec["ttlSecondsAfterFinished"], spec["activeDeadlineSeconds"]) == (
        "None",
        60,
        90,
    )
    assert (spec["suspend"], spec["restart"]["limit"]) == (True, 3)
    assert spec["scheduling"] == {"gang": "Volcano", "queue": "team", "priorityClassName": "high"}


def test_kueue_job_is_not_suspended_for_ever() -> None:
    job = torch_job("python", "t.py", runPolicy={"suspend": True})
    job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "team"}
    done = convert(job, Options())
    assert "suspend" not in done.job["spec"]
    assert "suspend" in notes(done, NoteKind.DROPPED)


def test_unknown_fields_are_not_dropped_in_silence() -> None:
    assert "spec.shiny" in notes(convert(torch_job("python", "t.py", shiny=1), Options()), NoteKind.DROPPED)


def test_who_a_rank_is_is_left_to_ftjob() -> None:
    env = [{"name": "WORLD_SIZE", "value": "4"}, {"name": "DATA", "value": "/data"}]
    spec = spec_of(torch_job("python", "t.py", trainer={"env": env}))
    assert spec["template"]["spec"]["containers"][0]["env"] == [{"name": "DATA", "value": "/data"}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metadata": {}}, "metadata.name"),
        ({"metadata": {"name": "n" * 41}}, "such as nnn"),
        ({"metadata": {"name": "a", "namespace": "${NS}"}}, "envsubst"),
        ({"spec": None}, "spec: it is missing"),
        ({"spec": []}, "no object"),
        ({"spec": {"pytorchReplicaSpecs": {}}}, "no role with pods"),
        ({"spec": {"pytorchReplicaSpecs": {"Worker": {"replicas": "$N"}}}}, "envsubst"),
        ({"spec": {"pytorchReplicaSpecs": {"Worker": {"template": {"spec": {"containers": 3}}}}}}, "no list"),
        ({"spec": {"pytorchReplicaSpecs": {"Boss": {}}}}, "no such role"),
        ({"apiVersion": "kubeflow.org/v9"}, "write kubeflow.org/v1"),
    ],
)
def test_jobs_that_can_not_be_read_are_refused_with_a_remedy(change: Manifest, said: str) -> None:
    assert said in refusal({**torch_job("python", "t.py"), **change})


def test_job_with_a_generated_name_keeps_it() -> None:
    job = {**torch_job("python", "t.py"), "metadata": {"generateName": "train-"}}
    assert convert(job, Options()).job["metadata"] == {"generateName": "train-"}


def test_all_kinds_have_a_converter_and_none_changes_what_it_is_given() -> None:
    jobs = [torch_job("python", "t.py"), mpi_job("mpirun", "python", "t.py"), tf_job(Worker=2)]
    jobs += [jobset("torchrun", "t.py"), train_job(trainer={"command": ["python", "t.py"]})]
    before = copy.deepcopy(jobs)
    assert {convert(job, Options()).job["kind"] for job in jobs} == {"FrameworkTrainingJob"}
    assert jobs == before
    assert {job["kind"] for job in jobs} | {"JAXJob"} == CONVERTERS.keys()


@pytest.mark.parametrize(
    "value",
    ["1e3", "0x1", "1_0", "y", "yes", "null", "~", "2020-01-01", "a: b", "# c", "é\u2028", " x", ".5"],
)
def test_texts_stay_texts_for_every_reader(value: str) -> None:
    env = [{"name": "A", "value": value}]
    done = convert(torch_job("python", "t.py", trainer={"env": env}), Options())
    written = as_yaml(done, ["from\nanywhere\x1b"])
    assert written.startswith("# from anywhere")
    assert yaml.load(written, Loader=_Loader) == done.job
