"""The objects of a job, whole, against files that a reviewer can read: ``tests/golden/<case>.yaml``.

After a change that is meant, run with ``FTJOB_WRITE_GOLDEN=1`` and read the diff.
"""

import copy
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.builders import CONFIG, WITH_POLICIES, JobBuilder, decide, job, manifests, observed

from ftjob.plan.build.objects import build_claim
from ftjob.plan.build.pod import build_pod
from ftjob.plan.layout import cluster_layout
from ftjob.plan.plan import Config, Step

GOLDEN = Path(__file__).parents[1] / "golden"
Manifest = dict[str, Any]

COLLIDING = {
    "metadata": {
        "labels": {"team": "vision", "app.kubernetes.io/managed-by": "me"},
        "annotations": {"karpenter.sh/do-not-disrupt": "false", "note": "kept"},
    },
    "spec": {
        "restartPolicy": "Never",
        "automountServiceAccountToken": True,
        "priorityClassName": "low",
        "tolerations": [
            {
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 60,
            }
        ],
        "initContainers": [{"name": "fetch", "image": "example/fetch:1"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [
            {"name": "proxy", "image": "example/proxy:1"},
            {
                "name": "trainer",
                "image": "example/train:1",
                "command": ["python3", "-m", "train"],
                "args": ["--index", "$(FTJOB_INDEX)"],
                "env": [
                    {"name": "OMP_NUM_THREADS", "value": "3"},
                    {"name": "NCCL_SOCKET_IFNAME", "value": "ib0"},
                    {"name": "MESSAGE", "value": "$(OMP_NUM_THREADS) threads"},
                ],
                "resources": {"limits": {"cpu": "8"}},
                "terminationMessagePath": "/tmp/other",
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            },
        ],
    },
}

HOROVOD = (
    job()
    .strategy("Horovod")
    .workers(2)
    .processes(2)
    .limits(cpu="4", memory="2Gi")
    .outputs(size="1Gi", storageClassName="shared", whenDeleted="Delete")
    .with_spec(profiling={"mode": "Scheduled", "ranks": "OnePerWorker"})
)

LONGEST = "a" + "-b" * 19 + "c"
"""A name of 40 characters."""

SERVING = {
    "metadata": {"labels": {"tier": "memory"}},
    "spec": {
        "nodeSelector": {"memory": "large"},
        "containers": [{"name": "server", "image": "example/serve:1", "command": ["python3", "-m", "serve"]}],
    },
}

BESIDE_OTHERS = {
    "spec": {
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": {"matchExpressions": [{"key": "ssd", "operator": "Exists"}]}}
                ]
            },
            "podAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 1,
                        "podAffinityTerm": {
                            "labelSelector": {"matchLabels": {"app": "cache"}},
                            "topologyKey": "kubernetes.io/hostname",
                        },
                    }
                ]
            },
        },
        "containers": [{"name": "train", "image": "example/train:1", "command": ["python3"]}],
    }
}

ON_TPU_NODES = {
    "spec": {
        "nodeSelector": {"cloud.google.com/gke-tpu-topology": "2x4", "zone": "b"},
        "tolerations": [{"key": "google.com/tpu", "operator": "Equal", "value": "present"}],
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {"matchLabels": {"app": "cache"}}, "topologyKey": "zone"}
                ]
            }
        },
        "containers": [
            {
                "name": "train",
                "image": "example/train:1",
                "command": ["python3"],
                "resources": {"limits": {"google.com/tpu": 4, "memory": "8Gi"}, "requests": {"cpu": 8}},
            }
        ],
    }
}
ON_HOST_NETWORK = {
    "spec": {
        "hostNetwork": True,
        "serviceAccountName": "reader",
        "containers": [{"name": "train", "image": "example/train:1", "command": ["python3"]}],
    }
}
V5E = {"accelerator": "tpu-v5-lite-podslice", "topology": "2x4", "chipsPerWorker": 4}


def tpu(library: str, **fields: Any) -> JobBuilder:
    return job().strategy("TPU").with_spec(workers=None, tpu={"library": library, **fields})


CASES = {
    "horovod-2x2-with-outputs": HOROVOD,
    "plain-1-worker": job(),
    "mirrored-2-gpus": job().strategy("Mirrored").limits(gpu=2),
    "colliding-template": job()
    .strategy("Horovod")
    .processes(2)
    .with_spec(scheduling={"priorityClassName": "high"})
    .template(COLLIDING),
    "name-at-the-limit": job(LONGEST).outputs(claimName="team", path="runs/1"),
    "torchrun-1-worker": job().strategy("Torchrun"),
    "torchrun-2x4-gpus": job().strategy("Torchrun").workers(2).limits(gpu=4, cpu=32),
    "horovod-elastic-2x2": job()
    .strategy("Horovod")
    .workers(2)
    .processes(2)
    .with_spec(elastic={"minWorkers": 1, "maxWorkers": 4}),
    "torchrun-elastic-2x2": job()
    .strategy("Torchrun")
    .workers(2)
    .processes(2)
    .with_spec(elastic={"minWorkers": 1, "maxWorkers": 4}),
    "multi-worker-mirrored-1-worker": job().strategy("MultiWorkerMirrored"),
    "multi-worker-mirrored-3x2-gpus": job(LONGEST)
    .strategy("MultiWorkerMirrored")
    .workers(3)
    .limits(gpu=2)
    .outputs(size="1Gi")
    .with_spec(profiling={"mode": "Scheduled"}),
    "jax-2-workers": job().strategy("JAX").workers(2),
    "jax-2x2-processes-4-gpus": job(LONGEST).strategy("JAX").workers(2).processes(2).limits(gpu=4),
    "parameter-server-small": job().strategy("ParameterServer"),
    "parameter-server-all-roles": job(LONGEST)
    .strategy("ParameterServer")
    .workers(2)
    .limits(gpu=1)
    .outputs(size="1Gi")
    .with_spec(profiling={"mode": "Scheduled"})
    .roles(ps={"replicas": 2, "template": SERVING}, evaluator=1),
    "tpu-single-host-torch-xla": tpu("TorchXLA", **V5E | {"chipsPerWorker": 8}),
    "tpu-single-host-tensorflow": tpu("TensorFlow", **V5E | {"topology": "1x1", "chipsPerWorker": 1}),
    "tpu-multi-host-jax": dataclasses.replace(tpu("JAX", **V5E), name=LONGEST).template(ON_TPU_NODES),
    "tpu-3-slices-jax": tpu("JAX", **V5E, slices=3),
    "tpu-endpoints": tpu("TensorFlow", endpoints=["grpc://10.0.0.2:8470", "grpc://10.0.0.3:8470"]),
    "native-gang-2-workers": job().workers(2).with_spec(scheduling={"priorityClassName": "high"}),
    "native-gang-elastic": job()
    .strategy("Torchrun")
    .workers(3)
    .with_spec(elastic={"minWorkers": 2, "maxWorkers": 4}),
    "volcano-gang-2x2-gpus": job()
    .workers(2)
    .limits(gpu=2, cpu="500m", memory="2Gi")
    .with_spec(scheduling={"gang": "Volcano", "queue": "team-a", "priorityClassName": "high"}),
    "coscheduling-gang-2-workers": job()
    .workers(2)
    .with_spec(scheduling={"gang": "Coscheduling", "timeoutSeconds": 300}),
    "plain-2-in-one-zone": job()
    .workers(2)
    .with_spec(scheduling={"topologyKey": "topology.kubernetes.io/zone"})
    .template(BESIDE_OTHERS),
    "parameter-server-without-chief": job().strategy("ParameterServer").roles(chief=0),
    "network-policy-2-workers": job().workers(2),
    "host-network-2-workers": job().strategy("MultiWorkerMirrored").workers(2).template(ON_HOST_NETWORK),
}


NATIVE = (("scheduling.k8s.io/v1beta1", "PodGroup"),)
SERVED: dict[str, tuple[tuple[str, str], ...]] = {
    "native-gang-2-workers": NATIVE,
    "native-gang-elastic": NATIVE,
    "volcano-gang-2x2-gpus": (("scheduling.volcano.sh/v1beta1", "PodGroup"), *NATIVE),
    "coscheduling-gang-2-workers": (("scheduling.x-k8s.io/v1alpha1", "PodGroup"), *NATIVE),
}
"""What the API server serves beside what every one does."""

CONFIGS = {"network-policy-2-workers": WITH_POLICIES}
"""The operator's settings that differ from those of all tests."""


class Readable(yaml.SafeDumper):
    """YAML without anchors, every object written out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def legible(manifest: Manifest) -> Manifest:
    """Return a manifest with the agent's configuration as YAML in place of JSON in a string."""
    shown = copy.deepcopy(manifest)
    for container in shown["spec"].get("containers", ()) if shown["kind"] == "Pod" else ():
        for variable in container.get("env", ()):
            if variable["name"] == "FTJOB_AGENT_CONFIG":
                variable["value"] = json.loads(variable["value"].replace("$$(", "$("))
    return shown


@pytest.mark.parametrize("name", CASES)
def test_the_whole_plan(name: str) -> None:
    seen = observed(existing=frozenset(), served=SERVED.get(name, ()))
    decision = decide(CASES[name], seen, config=CONFIGS.get(name, CONFIG))
    assert decision.step is Step.START, decision.message
    shown = [legible(manifest) for manifest in manifests(decision)]
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("FTJOB_WRITE_GOLDEN"):
        path.write_text(yaml.dump_all(shown, Dumper=Readable, sort_keys=False, width=110))
    assert shown == list(yaml.safe_load_all(path.read_text()))


def test_every_golden_file_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(CASES)


def pod_of(wanted: JobBuilder, config: Config = CONFIG) -> Manifest:
    built = wanted.build()
    layout = cluster_layout(built, 0)
    return build_pod(built, layout, layout.workers[0], config)


def trainer_of(pod: Manifest) -> Manifest:
    found: Manifest = next(c for c in pod["spec"]["containers"] if c["name"] in {"train", "trainer"})
    return found


def test_the_template_is_not_changed() -> None:
    built = job().template(COLLIDING).build()
    layout = cluster_layout(built, 0)
    first = build_pod(built, layout, layout.workers[0], CONFIG)
    assert build_pod(built, layout, layout.workers[0], CONFIG) == first
    assert built.spec is not None
    assert built.spec.template == COLLIDING


@pytest.mark.parametrize("name", CASES)
def test_the_agent_has_the_same_environment_in_every_case(name: str) -> None:
    names = [variable["name"] for variable in trainer_of(pod_of(CASES[name]))["env"]]
    assert len(names) == len(set(names))
    assert names[:2] == ["FTJOB_AGENT_CONFIG", "FTJOB_NODE_NAME"]


def template_with(**spec: Any) -> Manifest:
    template = copy.deepcopy(job().spec["template"])
    template["spec"] |= spec
    return dict(template)


def shared_memory(wanted: JobBuilder) -> list[Manifest]:
    """Return what the pod has for /dev/shm."""
    volumes = pod_of(wanted)["spec"]["volumes"]
    return [volume["emptyDir"] for volume in volumes if volume["name"] == "ftjob-shm"]


def test_every_trainer_has_shared_memory_up_to_its_limit() -> None:
    assert shared_memory(job().limits(memory="2Gi")) == [{"medium": "Memory", "sizeLimit": "2Gi"}]
    assert shared_memory(job().limits(gpu=1)) == [{"medium": "Memory"}]
    of_pod = job().template(template_with(resources={"limits": {"memory": "3Gi"}}))
    assert shared_memory(of_pod) == [{"medium": "Memory", "sizeLimit": "3Gi"}]


@pytest.mark.parametrize("path", ["/dev/shm", "/dev/shm/"])
def test_users_shared_memory_is_left_alone(path: str) -> None:
    mount = {"name": "big", "mountPath": path}
    assert shared_memory(job().limits(gpu=1).with_trainer(volumeMounts=[mount])) == []
    assert shared_memory(job().template(template_with(hostIPC=True))) == []


def test_a_service_accounts_token_is_there_where_the_template_names_the_account() -> None:
    assert pod_of(job())["spec"]["automountServiceAccountToken"] is False
    for name in ("serviceAccountName", "serviceAccount"):
        named = pod_of(job().template(template_with(**{name: "reader"})))["spec"]
        assert "automountServiceAccountToken" not in named
    refused = template_with(serviceAccountName="reader", automountServiceAccountToken=False)
    assert pod_of(job().template(refused))["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (None, "ClusterFirstWithHostNet"),
        ("ClusterFirst", "ClusterFirstWithHostNet"),
        ("Default", "Default"),
        ("None", "None"),
    ],
)
def test_a_pod_on_its_nodes_network_asks_the_clusters_resolver(said: str | None, found: str) -> None:
    chosen = {} if said is None else {"dnsPolicy": said}
    assert pod_of(job().template(template_with(hostNetwork=True, **chosen)))["spec"]["dnsPolicy"] == found
    assert pod_of(job().template(template_with(**chosen)))["spec"].get("dnsPolicy") == said


@pytest.mark.parametrize("more", [{}, {"effect": "NoSchedule"}], ids=["all", "all that keep pods away"])
def test_who_tolerates_everything_leaves_a_lost_node_all_the_same(more: dict[str, str]) -> None:
    template = copy.deepcopy(job().spec["template"])
    template["spec"]["tolerations"] = [{"operator": "Exists", **more}]
    borne = pod_of(job().template(template))["spec"]["tolerations"]
    assert [t.get("tolerationSeconds") for t in borne] == [5, 5, None], "the first that matches counts"


def test_what_the_user_says_of_lost_nodes_holds() -> None:
    said = [
        {"key": f"node.kubernetes.io/{taint}", "operator": "Exists"} for taint in ("not-ready", "unreachable")
    ]
    template = copy.deepcopy(job().spec["template"])
    template["spec"]["tolerations"] = said
    assert pod_of(job().template(template))["spec"]["tolerations"] == said


@pytest.mark.parametrize(
    ("outputs", "default_class", "storage_class", "size", "mode", "owned"),
    [
        ({}, None, None, "10Gi", "ReadWriteMany", False),
        ({}, "nfs", "nfs", "10Gi", "ReadWriteMany", False),
        ({"storageClassName": "own", "size": "1Gi"}, "nfs", "own", "1Gi", "ReadWriteMany", False),
        ({"accessMode": "ReadWriteOnce", "whenDeleted": "Delete"}, None, None, "10Gi", "ReadWriteOnce", True),
    ],
)
def test_the_claim(
    outputs: Manifest,
    default_class: str | None,
    storage_class: str | None,
    size: str,
    mode: str,
    *,
    owned: bool,
) -> None:
    claim = build_claim(job().outputs(**outputs).build(), Config(default_storage_class_name=default_class))
    assert claim is not None
    assert claim["spec"].get("storageClassName") == storage_class
    assert claim["spec"]["resources"]["requests"]["storage"] == size
    assert claim["spec"]["accessModes"] == [mode]
    assert ("ownerReferences" in claim["metadata"]) is owned
