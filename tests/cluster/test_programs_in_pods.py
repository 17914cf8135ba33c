"""Programs of every kind that pods change, many at once: each does in a pod what it does by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import RESTRICTED_CONTAINER, conditions, job, pods_of

if TYPE_CHECKING:
    from support.cluster import Cluster

OLD_PYTHON = """#!/bin/sh
exec /usr/bin/env PATH=/usr/local/bin:/usr/bin:/bin python3 -IS -c "
import sys
sys.version_info, sys.version = (3, 8, 18, 'final', 0), '3.8.18 (default)'
exec(sys.argv[1])" "$3"
"""
"""Stands for an image's python3, which gets ``-IS -c CODE -- COMMAND``."""
MAPS_MEMORY = """
import mmap, os, tempfile
size = 80 << 20
with tempfile.TemporaryFile(dir="/dev/shm") as file:
    os.posix_fallocate(file.fileno(), 0, size)
    memory = mmap.mmap(file.fileno(), 0)
    child = os.fork()
    if not child:
        for start in range(0, size, 1 << 20):
            memory[start] = 7
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert set(memory[:: 1 << 20]) == {7}
"""
"""As NCCL and gloo share memory: an unlinked file and a fork, in a job that names no limit."""
FINDS_SETTINGS = """
import os
want = {"NCCL_SOCKET_IFNAME": "ib0", "GLOO_SOCKET_IFNAME": "eth0"}
want |= {"HOROVOD_CYCLE_TIME": "9", "OMP_NUM_THREADS": "3"}
found = {name: os.environ.get(name) for name in want}
assert found == want, found
assert os.environ["RANK"] in "01" and os.environ["WORLD_SIZE"] == "2", "identity is ours"
"""
SAYS_WHO_IT_IS = """
import json, os, ssl, sys, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
token, space = (open(f"{folder}/{name}").read() for name in ("token", "namespace"))
host = os.environ["KUBERNETES_SERVICE_HOST"]
host = f"[{host}]" if ":" in host else host
url = f"https://{host}:{os.environ['KUBERNETES_SERVICE_PORT']}/apis/authentication.k8s.io/v1/selfsubjectreviews"
body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
request = urllib.request.Request(url, json.dumps(body).encode(), headers)
with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=f"{folder}/ca.crt")) as answer:
    name = json.load(answer)["status"]["userInfo"]["username"]
assert name == f"system:serviceaccount:{space}:speaker", name
"""
FINDS_ARGUMENTS = """
import os, sys
index = os.environ["JOB_COMPLETION_INDEX"]
assert sys.argv[1:] == [index, f"--part=7-{index}", "$(RANK)", "$(NOBODYS)"], sys.argv
"""
IS_NOBODY = """
import getpass, os, pathlib, sys, tempfile
assert os.getuid() == 54321
assert getpass.getuser(), "torch's compiler asks for it"
assert sys.modules["sitecustomize"].MINE == "mine", "the image's own"
try:
    pathlib.Path.home().joinpath("cache").mkdir()
except OSError:
    pass
else:
    sys.exit("home can be written")
with tempfile.TemporaryDirectory() as folder:
    print("temporary files lie in", folder)
"""
"""No passwd entry, a home that can't be written, /tmp as an emptyDir, a sitecustomize of its own."""
MEETS_AT_RANK_0 = """
import os, socket, time
rank, place = int(os.environ["RANK"]), (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if rank == 0:
    with socket.create_server(("", place[1])) as server:
        time.sleep(4)  # the other job's rank 0 is on this node, too
        assert server.accept()[0].recv(9) == os.environ["FTJOB_JOB"].encode()
else:
    while True:
        try:
            with socket.create_connection(place) as line:
                line.sendall(os.environ["FTJOB_JOB"].encode())
                break
        except ConnectionRefusedError:
            time.sleep(0.1)
"""
"""As torch's store does, at the port that ftjob has chosen."""


def config_map(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def trainer_of(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["spec"]["template"]["spec"]["containers"][0]
    return found


def succeeded(cluster: Cluster, *names: str) -> None:
    for name in names:
        status = cluster.finished(name)["status"]
        assert status["phase"] == "Succeeded", (name, status)


def test_what_pods_give_a_program_is_what_it_finds(cluster: Cluster) -> None:
    old = job("old-python", ["python3", "train.py"], volumes=[_volume("old", mode=0o555)])
    trainer_of(old)["volumeMounts"] = [{"name": "old", "mountPath": "/old"}]
    trainer_of(old)["env"] = [{"name": "PATH", "value": "/old:/usr/local/bin:/usr/bin:/bin"}]

    settings = job("settings", ["python3", "-c", FINDS_SETTINGS], strategy="Torchrun", processes=2)
    reference = {"configMapKeyRef": {"name": "network", "key": "interface"}}
    trainer_of(settings)["env"] = [{"name": "GLOO_SOCKET_IFNAME", "valueFrom": reference}]
    prefixed = {"prefix": "NCCL_", "configMapRef": {"name": "prefixed"}}
    trainer_of(settings)["envFrom"] = [prefixed, {"secretRef": {"name": "tuning"}}]
    tuning = {"HOROVOD_CYCLE_TIME": "9", "OMP_NUM_THREADS": "3"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tuning"}, "stringData": tuning}

    volumes = [_volume("lib"), {"name": "tmp", "emptyDir": {}}]
    nobody = job("nobody", ["python3", "-c", IS_NOBODY], volumes=volumes)
    nobody["spec"]["template"]["spec"]["securityContext"] |= {"runAsUser": 54321, "runAsGroup": 54321}
    trainer_of(nobody).update(
        env=[{"name": "PYTHONPATH", "value": "/lib-mine"}, {"name": "HOME", "value": "/root"}],
        volumeMounts=[{"name": "lib", "mountPath": "/lib-mine"}, {"name": "tmp", "mountPath": "/tmp"}],
        securityContext=RESTRICTED_CONTAINER | {"readOnlyRootFilesystem": True},
    )

    numbers = ["$(JOB_COMPLETION_INDEX)", "--part=$(SEED)-$(JOB_COMPLETION_INDEX)", "$$(RANK)", "$(NOBODYS)"]
    arguments = job("arguments", ["python3", "-c", FINDS_ARGUMENTS, *numbers], workers=2)
    trainer_of(arguments)["env"] = [{"name": "SEED", "value": "7"}]

    cluster.apply(
        config_map("old", {"python3": OLD_PYTHON}),
        config_map("network", {"interface": "eth0"}),
        config_map("prefixed", {"SOCKET_IFNAME": "ib0"}),
        config_map("lib", {"sitecustomize.py": "MINE = 'mine'", "json.py": "1 / 0", "ssl.py": "1 / 0"}),
        secret,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "speaker"}},
        old,
        settings,
        nobody,
        arguments,
        job("mapped", ["python3", "-c", MAPS_MEMORY]),
        job("speaker", ["python3", "-c", SAYS_WHO_IT_IS], serviceAccountName="speaker"),
    )
    entrypoint = job("entrypoint", [])
    del trainer_of(entrypoint)["command"]
    with pytest.raises(AssertionError, match="where the image has an ENTRYPOINT, write that into command"):
        cluster.apply(entrypoint)
    succeeded(cluster, "settings", "nobody", "arguments", "mapped", "speaker")
    failure = cluster.finished("old-python")["status"]["failure"]
    assert "python3 of the image is 3.8.18, and ftjob needs 3.9" in failure["message"]


def _volume(config_map: str, *, mode: int = 0o444) -> dict[str, Any]:
    return {"name": config_map, "configMap": {"name": config_map, "defaultMode": mode}}


def test_two_jobs_on_their_nodes_network_have_ports_of_their_own(elsewhere: Cluster) -> None:
    # All on one node.
    pod: dict[str, Any] = {"hostNetwork": True, "nodeSelector": {"kubernetes.io/hostname": "ftjob-worker"}}
    command = ["python3", "-c", MEETS_AT_RANK_0]
    elsewhere.apply(*(job(name, command, strategy="Torchrun", workers=2, **pod) for name in ("one", "two")))
    succeeded(elsewhere, "one", "two")


def test_a_job_whose_workers_can_not_find_each_other_says_who_and_why_and_starts_no_rank(
    elsewhere: Cluster,
) -> None:
    # The first asks its node's resolver, as the whole host does; the second one that is not there.
    command = ["python3", "-c", "print('a rank runs')"]
    node = job("nodes-dns", command, workers=2, hostNetwork=True, dnsPolicy="Default")
    nowhere = job("no-dns", command, workers=2, dnsPolicy="None", dnsConfig={"nameservers": ["127.0.0.1"]})
    elsewhere.apply(node, nowhere)
    for name in ("nodes-dns", "no-dns"):
        limit, said = time.monotonic() + 120, ""
        while f"can't resolve {name}-worker-0-0" not in said:
            assert time.monotonic() < limit, said
            time.sleep(1)
            status = elsewhere.get("ftj", name).get("status") or {}
            said = conditions({"status": status}).get("Running", {}).get("message", "")
        assert status["phase"] == "Starting"
        assert "worker 1 on ftjob-worker" in said
        logs = [elsewhere.kubectl("logs", pod["metadata"]["name"]) for pod in pods_of(elsewhere, name)]
        assert any(f"ftjob: worker-1 can't resolve {name}-worker-0-0" in log for log in logs), logs
        assert not any("a rank runs" in log for log in logs)


def test_a_namespace_with_limits_and_a_quota_takes_a_job_as_any_other_pod(elsewhere: Cluster) -> None:
    least, most = {"cpu": "50m", "memory": "64Mi"}, {"cpu": "2", "memory": "1Gi"}
    bounds = {"type": "Container", "min": least, "max": most}
    bounds |= {"defaultRequest": least, "default": {"cpu": "500m", "memory": "256Mi"}}
    hard = {"requests.cpu": "400m", "requests.memory": "256Mi", "limits.cpu": "2", "limits.memory": "1Gi"}
    elsewhere.apply(
        _limited("LimitRange", {"limits": [bounds]}),
        _limited("ResourceQuota", {"hard": hard}),
    )
    own, without = job("own-limits", ["true"], workers=2), job("no-resources", ["true"])
    trainer_of(own)["resources"] = {"limits": {"cpu": "100m", "memory": "64Mi"}}
    del trainer_of(without)["resources"]
    elsewhere.apply(own, without)
    succeeded(elsewhere, "own-limits", "no-resources")


def _limited(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "room"}, "spec": spec}
