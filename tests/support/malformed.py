"""Jobs that are wrong in one way each, made from the schema and from a table of what people write."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from support.jobs import job

from ftjob.api.identity import IDENTITY_NAMES
from ftjob.api.spec_schema import spec_schema
from ftjob.models.schema import Schema
from ftjob.models.spec import SuccessPolicy
from ftjob.strategies import STRATEGIES
from ftjob.strategies.base import Processes, Strategy


class Found(Enum):
    """Who finds the mistake at the latest."""

    OFFLINE = "our own checks"
    UNKNOWN = "our own checks; the API server drops it for a client that asks for no strict checks"
    POD = "the creation of the pod, which alone knows the whole pod template"


@dataclass(frozen=True)
class Malformed:
    """One malformed job, and the field that a message about it has to name."""

    name: str
    body: dict[str, Any]
    field: str
    found: Found = Found.OFFLINE
    not_json: bool = False
    """No valid JSON: an API server says where it stopped reading, and not in which field."""


NESTED: dict[str, dict[str, Any]] = {
    "spec.tpu": {"library": "JAX"},
    "spec.elastic": {"minWorkers": 1, "maxWorkers": 4},
    "spec.watchdog": {"hangSeconds": 60},
    "spec.code": {"configMap": "digits-code-0a0a0a0a", "sha256": "0a" * 32},
    "spec.restart.rules[0]": {"onReason": "Hang", "action": "Fail"},
}
"""What has to stand beside a field so that nothing else is wrong there."""

CONTAINERS = "spec.template.spec.containers"
TRAINER = f"{CONTAINERS}[0]"

GREEK = "\N{GREEK CAPITAL LETTER ETA}orovod"

WRONG_TYPE: dict[str, tuple[Any, ...]] = {
    "integer": ("2", 2.5, [1]),
    "boolean": ("yes", 1),
    "string": (7, {"a": "b"}),
    "array": ("text", {"a": 1}),
    "object": ("text", [1]),
}


def cases() -> list[Malformed]:
    """Return all malformed jobs, each with a name of its own."""
    found = [*_from_schema(), *_by_hand()]
    names = [case.name for case in found]
    assert len(set(names)) == len(names), "two cases have the same name"
    return found


def nested(levels: int) -> dict[str, Any]:
    """Return so many objects in each other."""
    found: dict[str, Any] = {}
    for _ in range(levels - 1):
        found = {"a": found}
    return found


def bent(path: str, value: Any) -> dict[str, Any]:
    """Return a job with one value set, given as ``spec.template.spec.containers[0].env``."""
    body = job()
    parts = [int(part) if part.isdecimal() else part for part in re.findall(r"[^.\[\]]+", path)]
    node: Any = body
    for depth, part in enumerate(parts[:-1]):
        empty: Any = [] if isinstance(parts[depth + 1], int) else {}
        if isinstance(node, dict):
            node = node.setdefault(part, empty)
        else:
            node.extend([{}] * (int(part) + 1 - len(node)))
            node = node[part]
        if isinstance(node, dict):
            beside = NESTED.get(_path(parts[: depth + 1]), {})
            node.update({key: item for key, item in beside.items() if key not in node})
    if isinstance(node, list):
        node[:] = [value]
    else:
        node[parts[-1]] = value
    return body


def _path(parts: list[Any]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def schema_fields(node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Walk the schema; of the pod templates only that of the workers, the others are refused as a whole."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        if name != "template" or path == "spec":
            yield from schema_fields(child, f"{path}.{name}")
    if "items" in node:
        yield from schema_fields(node["items"], f"{path}[0]")


def _from_schema() -> Iterator[Malformed]:
    for path, node in schema_fields(spec_schema(), "spec"):
        kind = node.get("type", "")
        values = [
            *(value for value in WRONG_TYPE.get(kind, ()) if path != "spec"),
            *(("", node["enum"][0].swapcase(), GREEK) if "enum" in node else ()),
            *((node["minimum"] - 1, -(2**31)) if "minimum" in node else ()),
            *((node["maximum"] + 1, 10**30) if "maximum" in node else ()),
            *(("a" * (node["maxLength"] + 1),) if "maxLength" in node else ()),
            *(("/", "/☃ b", "a\n b") if "x-kubernetes-validations" in node and kind == "string" else ()),
        ]
        for number, value in enumerate(values):
            yield Malformed(f"{path} wrong {number}", bent(path, value), path)
        if kind == "object" and not node.get("x-kubernetes-preserve-unknown-fields") and path != "spec":
            unknown = f"{path}.bogus"
            yield Malformed(f"{path} with an unknown field", bent(unknown, 1), unknown, Found.UNKNOWN)
        for name in node.get("required", []):
            body = bent(f"{path}.{name}", None) if path != "spec" else job()
            _remove(body, f"{path}.{name}")
            yield Malformed(f"{path}.{name} missing", body, f"{path}.{name}")


def _remove(body: dict[str, Any], path: str) -> None:
    node: Any = body
    *above, last = re.findall(r"[^.\[\]]+", path)
    for part in above:
        node = node[int(part) if isinstance(node, list) else part]
    del node[last]


def _spec(**fields: Any) -> dict[str, Any]:
    body = job()
    body["spec"].update(fields)
    return body


def _running(*command: str, gpus: int = 0) -> dict[str, Any]:
    """Return a pod template with one container."""
    limits = {"nvidia.com/gpu": gpus} if gpus else {}
    container = {"name": "a", "image": "i", "command": list(command), "resources": {"limits": limits}}
    return {"spec": {"containers": [container]}}


def _by_hand() -> Iterator[Malformed]:
    yield from _names()
    yield from _typos()
    yield from _combinations()
    yield from _env()
    yield from _pod_template()
    yield from _role_templates()
    for field, value in (("workers", float("nan")), ("processesPerWorker", float("inf"))):
        yield Malformed(f"{field} is {value}", _spec(**{field: value}), f"spec.{field}", not_json=True)


def _names() -> Iterator[Malformed]:
    for name in (
        "a" * 300,
        "a" * 41,
        "9lives",
        "-a",
        "a-",
        "Digits",
        "a.b",
        "a_b",
        "ünïcode",
        "a b",
        "数字",
        ".",
    ):
        body = job()
        body["metadata"]["name"] = name
        yield Malformed(f"named {name[:20]} ({len(name)} characters)", body, "metadata.name")


def _typos() -> Iterator[Malformed]:
    for typo, value in {
        "stratgy": "Plain",
        "Strategy": "Plain",
        "worker": 2,
        "wrokers": 2,
        "replicas": 2,
        "processPerWorker": 2,
        "processes_per_worker": 2,
        "output": {},
        "profilling": {},
        "restartPolicy": "Never",
        "backoffLimit": 3,
        "ttlSecondsAfterFinish": 3,
        "élastic": {},
        "schedulling": {"gang": "Auto"},
        "image": "example/train",
        "command": ["python"],
        "suspended": True,
        "cleanPodPolicy": "Running",
    }.items():
        yield Malformed(f"typo {typo}", _spec(**{typo: value}), f"spec.{typo}", Found.UNKNOWN)


def _combinations() -> Iterator[Malformed]:
    tpu = {"library": "JAX", "topology": "2x4"}
    outputs = {"claimName": "team-pvc"}
    servers = _shortest(STRATEGIES["ParameterServer"])
    table: list[tuple[str, str, dict[str, Any]]] = [
        *_of_strategies(),
        ("workers", "two workers of Mirrored", {"strategy": "Mirrored", "processesPerWorker": 1}),
        ("roles", "empty roles", {"roles": {}}),
        (
            "template.spec.containers",
            "torchrun in every rank",
            {"strategy": "Torchrun", "template": _running("torchrun", "train.py")},
        ),
        (
            "template.spec.containers",
            "torchrun as a module in every rank",
            {"strategy": "Torchrun", "template": _running("python3", "-m", "torch.distributed.run")},
        ),
        (
            "template.spec.containers",
            "a launcher of its own in every worker",
            {
                "strategy": "Horovod",
                "processesPerWorker": 1,
                "template": _running("sh", "-c", "horovodrun a"),
            },
        ),
        (
            "processesPerWorker",
            "three GPUs for two processes of JAX",
            {"strategy": "JAX", "template": _running("a", gpus=3)},
        ),
        (
            "workers",
            "6,000 tasks in TF_CONFIG",
            {"strategy": "MultiWorkerMirrored", "workers": 6000, "processesPerWorker": 1},
        ),
        ("processesPerWorker", "1,280,000 ranks", {"workers": 5000, "processesPerWorker": 256}),
        *(
            (field, f"TPU: {name}", {"strategy": "TPU", "processesPerWorker": 1, "workers": None, **fields})
            for field, name, fields in _tpus()
        ),
        ("roles.chief.replicas", "two chiefs", {**servers, "roles": {"chief": {"replicas": 2}}}),
        ("roles.evaluator.replicas", "two evaluators", {**servers, "roles": {"evaluator": {"replicas": 2}}}),
        ("roles.ps.replicas", "no parameter server", {**servers, "roles": {"ps": {"replicas": 0}}}),
        ("tpu", "tpu of Horovod", {"tpu": tpu}),
        ("tpu", "TPU without tpu", {"strategy": "TPU"}),
        ("workers", "elastic of no size", {"workers": None, "elastic": {"minWorkers": 1, "maxWorkers": 4}}),
        ("workers", "elastic with too many", {"workers": 9, "elastic": {"minWorkers": 1, "maxWorkers": 4}}),
        ("workers", "elastic with too few", {"workers": 1, "elastic": {"minWorkers": 2, "maxWorkers": 4}}),
        ("elastic.maxWorkers", "elastic upside down", {"elastic": {"minWorkers": 4, "maxWorkers": 1}}),
        ("outputs", "scheduled without outputs", {"profiling": {"mode": "Scheduled"}}),
        ("outputs.claimName", "sized foreign claim", {"outputs": {**outputs, "size": "1Gi"}}),
        ("outputs.claimName", "classy foreign claim", {"outputs": {**outputs, "storageClassName": "nfs"}}),
        (
            "outputs.claimName",
            "mode of foreign claim",
            {"outputs": {**outputs, "accessMode": "ReadWriteOnce"}},
        ),
        ("outputs.whenDeleted", "deleted foreign claim", {"outputs": {**outputs, "whenDeleted": "Delete"}}),
        *(
            ("outputs.path", f"path {path!r}", {"outputs": {"path": path}})
            for path in ("/etc", "..", "a/../b", "a/..", "a\u0000b", "a\nb")
        ),
        *(
            ("outputs.logLimit", f"log limit {limit!r}", {"outputs": {"logLimit": limit}})
            for limit in ("0", "1023Ki", "1G", "0.5Gi", "-1Gi", "1 Gi", "9" * 30 + "Mi", "\uff11Gi")
        ),
        *(
            ("outputs.size", f"size {size!r}", {"outputs": {"size": size}})
            for size in ("0", "0Gi", "-1Gi", "1GB", "1 Gi", "9" * 30, "∞")
        ),
        *(
            ("profiling.ranks", f"ranks {ranks!r}", {"profiling": {"ranks": ranks}})
            for ranks in ("", "all", "3-1", "4", "0,7-9", "1;2", "1-", ",", "999999999999")
        ),
        ("profiling.tools", "no tool", {"profiling": {"tools": []}}),
        *(
            ("profiling.budget.maxBytes", f"budget {size!r}", {"profiling": {"budget": {"maxBytes": size}}})
            for size in ("lots", "2 Gi")
        ),
        *(("strategy", f"strategy {name}", {"strategy": name}) for name in ("MPI", "horovod", "torchrun")),
        *(("scheduling.gang", f"gang {gang}", {"scheduling": {"gang": gang}}) for gang in ("native", "On")),
        ("scheduling.queue", "queue of nobody", {"scheduling": {"queue": "team-a"}}),
        (
            "scheduling.queue",
            "queue of Kubernetes",
            {"scheduling": {"queue": "team-a", "gang": "Native"}},
        ),
        ("scheduling.queue", "odd queue", {"scheduling": {"queue": "Team A", "gang": "Volcano"}}),
        *_topologies(),
        *(
            ("watchdog.hangSeconds", f"hang after {seconds}", {"watchdog": {"hangSeconds": seconds}})
            for seconds in (0, -1, 31_536_001)
        ),
    ]
    for field, name, fields in table:
        yield Malformed(name, _spec(**fields), f"spec.{field}")
    yield Malformed("spec is a list", {**job(), "spec": []}, "spec")
    yield Malformed("spec is missing", {key: value for key, value in job().items() if key != "spec"}, "spec")


def _shortest(strategy: Strategy) -> dict[str, Any]:
    """Return what has to stand beside the template of a good job."""
    return {"strategy": strategy.name, "workers": None, "processesPerWorker": 1, **strategy.examples[0]}


def _of_strategies() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Ask of each strategy what it can't do."""
    for strategy in STRATEGIES.values():
        name, good = strategy.name, _shortest(strategy)
        if strategy.processes is Processes.ALWAYS_ONE:
            yield "processesPerWorker", f"two processes of {name}", {**good, "processesPerWorker": 2}
        if not strategy.elastic:
            elastic = {"minWorkers": 1, "maxWorkers": 4}
            yield "elastic", f"elastic {name}", {**good, "workers": 1, "elastic": elastic}
        if not strategy.roles:
            yield "roles", f"roles of {name}", {**good, "roles": {"ps": {"replicas": 2}}}
        if "chief" not in strategy.roles:
            yield "success", f"chief of {name}", {**good, "success": "Chief"}
        if not strategy.others_end:
            for policy in sorted({*SuccessPolicy} - {strategy.success}):
                yield "success", f"{policy} of {name}", {**good, "success": policy.value}


_V5E = {"library": "JAX", "accelerator": "tpu-v5-lite-podslice", "topology": "2x4", "chipsPerWorker": 4}


def _tpus() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for key in ("accelerator", "topology", "chipsPerWorker"):
        yield f"tpu.{key}", f"no {key}", {"tpu": {k: v for k, v in _V5E.items() if k != key}}
    endpoints = {"library": "TensorFlow", "endpoints": ["grpc://10.0.0.2:8470"]}
    for key, value in (("accelerator", "a"), ("topology", "2x2"), ("chipsPerWorker", 4), ("slices", 2)):
        yield "tpu.endpoints", f"endpoints and {key}", {"tpu": {**endpoints, key: value}}
    for library in ("JAX", "TorchXLA"):
        yield "tpu.endpoints", f"endpoints for {library}", {"tpu": {**endpoints, "library": library}}
    for endpoint in ("10.0.0.2:8470", "http://a", "grpc://a,grpc://b", ""):
        yield "tpu.endpoints", f"endpoint {endpoint!r}", {"tpu": {**endpoints, "endpoints": [endpoint]}}
    yield "workers", "two workers of endpoints", {"tpu": endpoints, "workers": 2}
    for topology, chips in (("2x4", 3), ("1x1", 4), ("2x2x3", 8)):
        tpu = {**_V5E, "topology": topology, "chipsPerWorker": chips}
        yield "tpu.topology", f"{topology} of {chips}", {"tpu": tpu}
    yield "workers", "workers of half a slice", {"tpu": _V5E, "workers": 1}
    yield "workers", "workers of one slice of three", {"tpu": {**_V5E, "slices": 3}, "workers": 2}
    for topology in ("999x999", "9999999999999999x9"):
        tpu = {**_V5E, "topology": topology, "chipsPerWorker": 1}
        yield "tpu.topology", f"topology {topology}", {"tpu": tpu}
    for kind in ("limits", "requests"):
        template = _running("a")
        template["spec"]["containers"][0]["resources"] = {kind: {"google.com/tpu": 8}}
        yield "template.spec.containers", f"other {kind}", {"tpu": _V5E, "template": template}
    for key, value in (("accelerator", "tpu-v4-podslice"), ("topology", "4x4")):
        template = _running("a")
        template["spec"]["nodeSelector"] = {f"cloud.google.com/gke-tpu-{key}": value}
        yield "template.spec.nodeSelector", f"other {key}", {"tpu": _V5E, "template": template}
    yield "template.spec.affinity", "beside a cache", {"tpu": _V5E, "template": _beside_a_cache()}


def _beside_a_cache() -> dict[str, Any]:
    template = _running("a")
    beside = {"labelSelector": {"matchLabels": {"app": "cache"}}, "topologyKey": "zone"}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [beside]}
    template["spec"]["affinity"] = {"podAffinity": required}
    return template


def _topologies() -> Iterator[tuple[str, str, dict[str, Any]]]:
    rack = {"scheduling": {"topologyKey": "example.com/rack"}}
    for key in ("", "a b", "/rack", "rack/", "a/b/c", "-rack", "r" * 64):
        yield "scheduling.topologyKey", f"domain {key[:9]!r}", {"scheduling": {"topologyKey": key}}
    yield "scheduling.topologyKey", "in a rack, beside a cache", {**rack, "template": _beside_a_cache()}
    slices = {"strategy": "TPU", "processesPerWorker": 1, "workers": None, "tpu": {**_V5E, "slices": 2}}
    yield "scheduling.topologyKey", "two slices in a rack", {**rack, **slices}
    elsewhere = {"managedBy": "kueue.x-k8s.io/multikueue"}
    yield "code", "code in another cluster", {"code": NESTED["spec.code"], **elsewhere}


def _role_templates() -> Iterator[Malformed]:
    """Bend the template of each role as that of the workers."""
    for role in ("chief", "ps", "evaluator"):
        for case in (*_env(), *_pod_template()):
            if case.found is Found.POD or case.field.startswith("spec.processes"):
                continue  # the pod's own affair; and only workers have several ranks
            spec = copy.deepcopy(case.body["spec"])
            own = spec.pop("template")
            if own is None:
                continue  # left out, which is the default of a role
            template = copy.deepcopy(job()["spec"]["template"])
            spec |= {"strategy": "ParameterServer", "processesPerWorker": 1, "template": template}
            spec["roles"] = {role: {"template": own}}
            field = case.field.replace("spec.template", f"spec.roles.{role}.template", 1)
            yield Malformed(f"{role}: {case.name}", {**job(), "spec": spec}, field)


def _env() -> Iterator[Malformed]:
    for name in (*IDENTITY_NAMES, "FTJOB_RANK", "FTJOB_X", "PET_NNODES", "MEGASCALE_NUM_SLICES"):
        body = bent(f"{TRAINER}.env", [{"name": "LANG", "value": "C"}, {"name": name, "value": "1"}])
        yield Malformed(f"env {name}", body, CONTAINERS)
    body = bent(
        f"{TRAINER}.env", [{"name": "RANK", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    )
    yield Malformed("env RANK from a field", body, CONTAINERS)
    alone = job()
    alone["spec"]["template"]["spec"]["containers"] = [
        {"name": "any", "image": "i", "command": ["python"], "env": [{"name": "WORLD_SIZE", "value": "1"}]}
    ]
    yield Malformed("env WORLD_SIZE of the only container", alone, CONTAINERS)
    yield Malformed("too many variables", bent(f"{TRAINER}.env", [{"name": "A"}] * 1001), f"{TRAINER}.env")


def _pod_template() -> Iterator[Malformed]:
    pod = "spec.template.spec"
    unnamed = [{"name": "a", "image": "i", "command": ["a"]}, {"name": "b", "image": "i"}]
    seen_by_us: list[tuple[str, str, Any, str]] = [
        ("no trainer among several", CONTAINERS, unnamed, CONTAINERS),
        ("two trainers", f"{CONTAINERS}[1].name", "trainer", CONTAINERS),
        ("no command", CONTAINERS, [{"name": "trainer", "image": "i"}], CONTAINERS),
        ("empty command", f"{TRAINER}.command", [], CONTAINERS),
        ("command in one string", f"{TRAINER}.command", "python train.py", f"{TRAINER}.command"),
        ("number in command", f"{TRAINER}.command", ["sleep", 5], f"{TRAINER}.command[1]"),
        (
            "mounts below our root",
            f"{TRAINER}.volumeMounts",
            [{"name": "a", "mountPath": "/ftjob/x"}],
            CONTAINERS,
        ),
        ("mounts our root", f"{TRAINER}.volumeMounts", [{"name": "a", "mountPath": "/ftjob"}], CONTAINERS),
        ("own restart policy", f"{TRAINER}.restartPolicy", "Always", CONTAINERS),
        ("our volume", f"{pod}.volumes", [{"name": "ftjob-agent", "emptyDir": {}}], f"{pod}.volumes"),
        ("our other volume", f"{pod}.volumes", [{"name": "ftjob-run", "emptyDir": {}}], f"{pod}.volumes"),
        ("our outputs", f"{pod}.volumes", [{"name": "ftjob-outputs", "emptyDir": {}}], f"{pod}.volumes"),
        ("pods that restart", f"{pod}.restartPolicy", "OnFailure", f"{pod}.restartPolicy"),
        ("pods that never never", f"{pod}.restartPolicy", "never", f"{pod}.restartPolicy"),
        ("host name", f"{pod}.hostname", "me", f"{pod}.hostname"),
        ("subdomain", f"{pod}.subdomain", "us", f"{pod}.subdomain"),
        (
            "our label",
            "spec.template.metadata.labels",
            {"ftjob.dev/job": "x"},
            "spec.template.metadata.labels",
        ),
        ("no containers", CONTAINERS, [], CONTAINERS),
        ("33 containers", CONTAINERS, [{"name": f"c{i}", "image": "i"} for i in range(33)], CONTAINERS),
        ("empty template", "spec.template", {}, "spec.template.spec"),
        ("120 levels", f"{TRAINER}.lifecycle", nested(120), "spec"),
        ("300 kB", f"{TRAINER}.args", ["x" * 300_000], "spec"),
        ("null template", "spec.template", None, "spec.template"),
        ("a pod spec as template", "spec.template", {"containers": unnamed}, "spec.template.spec"),
        ("args in one string", f"{TRAINER}.args", "--x", f"{TRAINER}.args"),
        ("number in args", f"{TRAINER}.args", ["--x", 5], f"{TRAINER}.args"),
        ("a port alone", f"{TRAINER}.ports", 80, f"{TRAINER}.ports"),
        ("a list as node selector", f"{pod}.nodeSelector", ["a"], f"{pod}.nodeSelector"),
        ("a null as toleration", f"{pod}.tolerations", [None], f"{pod}.tolerations"),
        (
            "annotations in a list",
            "spec.template.metadata.annotations",
            ["a"],
            "spec.template.metadata.annotations",
        ),
        (
            "300 GPUs",
            f"{TRAINER}.resources",
            {"limits": {"nvidia.com/gpu": 300}},
            "spec.processesPerWorker",
        ),
    ]
    for name, path, value, field in seen_by_us:
        body = bent(path, value)
        if field == "spec.processesPerWorker":
            del body["spec"]["processesPerWorker"]
        yield Malformed(name, body, field)
    seen_by_pods: list[tuple[str, Any, str]] = [
        (f"{TRAINER}.resorces", {"limits": {"nvidia.com/gpu": 1}}, "resorces"),
        (f"{TRAINER}.resources", {"limit": {"nvidia.com/gpu": 1}}, "limit"),
        (f"{TRAINER}.resources", {"limits": {"cpu": "lots"}}, "quantities must match"),
        (f"{TRAINER}.resources", {"requests": {"cpu": 2}, "limits": {"cpu": 1}}, "resources.requests"),
        (f"{TRAINER}.resources", {"limits": {"nvidia.com/gpu": "1.5"}}, "nvidia.com/gpu"),
        (f"{TRAINER}.resources", {"limits": {"nvidia.com/gpu": -1}}, "nvidia.com/gpu"),
        (f"{TRAINER}.imge", "example/x", "imge"),
        (f"{TRAINER}.image", "", "image"),
        (f"{TRAINER}.image", " example/x", "image"),
        (f"{TRAINER}.image", 7, "image"),
        (f"{TRAINER}.arg", ["--x"], "arg"),
        (f"{TRAINER}.enviroment", [], "enviroment"),
        (f"{TRAINER}.env", [{"nam": "A", "value": "1"}], "env[0].nam"),
        (f"{TRAINER}.env", [{"name": "A", "vlaue": "1"}], "vlaue"),
        (f"{TRAINER}.env", [{"name": "A", "value": 1}], "value"),
        (f"{TRAINER}.env", [{"name": "", "value": "1"}], "env[0].name"),
        (f"{TRAINER}.env", [{"name": "A=B", "value": "1"}], "env[0].name"),
        (f"{TRAINER}.envFrom", [{"configMap": {"name": "x"}}], "configMap"),
        (f"{TRAINER}.volumeMount", [{"name": "a", "mountPath": "/a"}], "volumeMount"),
        (f"{TRAINER}.volumeMounts", [{"name": "absent", "mountPath": "/a"}], "volumeMounts[0].name"),
        (f"{TRAINER}.imagePullPolicy", "Sometimes", "imagePullPolicy"),
        (f"{TRAINER}.workdir", "/x", "workdir"),
        (f"{TRAINER}.ports", [{"containerPort": 99999}], "containerPort"),
        (f"{TRAINER}.securityContext", {"runAsUsr": 1}, "runAsUsr"),
        (f"{TRAINER}.livenessProbe", {"exec": {"comand": ["x"]}}, "comand"),
        (f"{CONTAINERS}[1].name", "Side_Car", "name"),
        (f"{CONTAINERS}[1].name", "sidecär", "name"),
        (f"{pod}.nodeSelectr", {"a": "b"}, "nodeSelectr"),
        (f"{pod}.tolerations", [{"key": "a", "operater": "Exists"}], "operater"),
        (f"{pod}.tolerations", [{"key": "a", "operator": "Exist"}], "operator"),
        (f"{pod}.affinity", {"nodeAfinity": {}}, "nodeAfinity"),
        (f"{pod}.securityContext", {"runAsUser": -5}, "runAsUser"),
        (f"{pod}.securityContext", {"fsgroups": 1}, "fsgroups"),
        (f"{pod}.terminationGracePeriodSeconds", "10s", "terminationGracePeriodSeconds"),
        (f"{pod}.dnsPolicy", "Sometimes", "dnsPolicy"),
        (f"{pod}.priority", "high", "priority"),
        (f"{pod}.volumes", [{"name": "a", "emptydirs": {}}], "emptydirs"),
        (f"{pod}.volumes", [{"name": "a", "hostPath": {}}], "hostPath.path"),
        (f"{pod}.serviceAccont", "x", "serviceAccont"),
        (f"{pod}.initContainers", [{"name": "Init", "image": "i"}], "initContainers[0].name"),
        (f"{pod}.initContainer", [], "initContainer"),
        (f"{pod}.gpus", 4, "gpus"),
        ("spec.template.metadata.anotations", {"a": "b"}, "anotations"),
        ("spec.template.metadata.annotations", {"a": 1}, "annotations"),
        ("spec.template.metadata.labels", {"a b": "c"}, "metadata.labels"),
        ("spec.template.metadata.labels", {"a": "ü"}, "metadata.labels"),
        ("spec.template.metdata", {"labels": {}}, "metdata"),
    ]
    for number, (path, value, field) in enumerate(seen_by_pods):
        yield Malformed(
            f"pod {number} {path[len(pod) :][-30:]}", bent(path, copy.deepcopy(value)), field, Found.POD
        )
