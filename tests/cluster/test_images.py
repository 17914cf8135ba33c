"""Images, users and pods as people have them: what needs no change to run, runs under ftjob too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.cluster import RESTRICTED_CONTAINER, job, pods_of

if TYPE_CHECKING:
    from support.cluster import Cluster

HANDS_OVER = """
import multiprocessing, os, sys
from multiprocessing import shared_memory
SIZE = 96 << 20
room = os.statvfs("/dev/shm")
print("/dev/shm has", (room.f_frsize * room.f_blocks) >> 20, "MiB", flush=True)
def fill(name):
    block = shared_memory.SharedMemory(name=name)
    for start in range(0, SIZE, 1 << 20):
        block.buf[start : start + (1 << 20)] = b"\\x01" * (1 << 20)
block = shared_memory.SharedMemory(create=True, size=SIZE)
child = multiprocessing.get_context("fork").Process(target=fill, args=(block.name,))
child.start()
child.join()
whole = block.buf[SIZE - 1] == 1
block.unlink()
sys.exit(child.exitcode or not whole or (room.f_frsize * room.f_blocks) >> 20 != int(sys.argv[1]))
"""
"""Hands 96 MiB from one process to another, as data loaders do; /dev/shm must be as large as argv[1] says."""

BARE = """
import os, pwd, sys
try:
    print("user", pwd.getpwuid(os.getuid()))
    sys.exit("this user has a name")
except KeyError:
    pass
for path in ("/tmp", os.environ["HOME"], "/", os.getcwd()):
    try:
        open(os.path.join(path, "mine"), "w")
        sys.exit(f"{path} can be written")
    except OSError:
        pass
import mine
try:
    import hmac
    sys.exit("PYTHONPATH is not the image's")
except ZeroDivisionError:
    print("mine is", mine.__file__)
want = {"NCCL_SOCKET_IFNAME": "bond0", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "7"}
found = {name: os.environ[name] for name in want}
assert found == want, found
assert os.environ["ROLE_WORLD_SIZE"] == "4", dict(os.environ)
open(os.path.join(os.environ["FTJOB_OUTPUTS"], "rank"), "w").close()
"""
"""No name, no home, no place to write but the outputs; its PYTHONPATH shadows what the agent imports."""

MEETS = """
import json, os, socket, threading, time
config = json.loads(os.environ["TF_CONFIG"])
servers, own = config["cluster"]["worker"], config["task"]["index"]
server = socket.create_server(("", int(servers[own].rpartition(":")[2])))
def serve():
    for _ in servers:
        server.accept()[0].sendall(b"%d" % own)
thread = threading.Thread(target=serve)
thread.start()
for index, address in enumerate(servers):
    host, _, port = address.rpartition(":")
    while True:
        try:
            with socket.create_connection((host, int(port))) as peer:
                assert int(peer.recv(9)) == index
            break
        except ConnectionRefusedError:  # its rank begins to serve in this moment
            time.sleep(0.05)
thread.join()
"""
"""Each rank serves at its place in TF_CONFIG, and finds all others at theirs by name."""

READS_TOKEN = """
import os, sys
token = os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token")
sys.exit(token is not (sys.argv[1] == "token"))
"""


def test_shared_memory_is_bounded_by_the_memory_limit_and_not_by_64_mebibytes(cluster: Cluster) -> None:
    limited = job("big-batches", ["python3", "-c", HANDS_OVER, "512"])
    limited["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = {"memory": "512Mi"}
    volume = {"name": "mine", "emptyDir": {"medium": "Memory", "sizeLimit": "128Mi"}}
    own = job("own-memory", ["python3", "-c", HANDS_OVER, "128"], volumes=[volume])
    mount = {"name": "mine", "mountPath": "/dev/shm"}
    own["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [mount]
    cluster.apply(limited, own)
    for name in ("big-batches", "own-memory"):
        ended = cluster.finished(name)
        assert ended["status"]["phase"] == "Succeeded", ended["status"]


def test_a_user_without_name_home_or_place_to_write_runs_with_the_platforms_environment(
    cluster: Cluster,
) -> None:
    settings = {"NCCL_SOCKET_IFNAME": "bond0", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "7"}
    shadows = {f"{name}.py": "1 / 0" for name in ("hmac", "http", "queue", "runpy", "typing_extensions")}
    made = job(
        "bare",
        ["python3", "-c", BARE],
        strategy="Torchrun",
        workers=2,
        processes=2,
        volumes=[{"name": "lib", "configMap": {"name": "lib"}}],
    )
    pod = made["spec"]["template"]["spec"]
    pod["securityContext"] |= {"runAsUser": 12345, "runAsGroup": 12345}
    pod["containers"][0] |= {
        "env": [{"name": "PYTHONPATH", "value": "/lib-mine"}, {"name": "HOME", "value": "/nonexistent"}],
        "envFrom": [{"configMapRef": {"name": "network-settings"}}],
        "volumeMounts": [{"name": "lib", "mountPath": "/lib-mine"}],
        "workingDir": "/",
        "securityContext": RESTRICTED_CONTAINER | {"readOnlyRootFilesystem": True},
    }
    pod["containers"][0]["resources"]["limits"] = {"cpu": "2"}
    cluster.apply(
        config_map("network-settings", settings), config_map("lib", {"mine.py": "", **shadows}), made
    )
    ended = cluster.finished("bare")
    assert ended["status"]["phase"] == "Succeeded", ended["status"]


def test_workers_on_their_nodes_network_find_each_other_also_two_on_one_node(elsewhere: Cluster) -> None:
    made = job("host-network", ["python3", "-c", MEETS], strategy="MultiWorkerMirrored", workers=3)
    made["spec"]["template"]["spec"]["hostNetwork"] = True
    # Two at least share one of the two nodes.
    elsewhere.apply(made)
    ended = elsewhere.finished("host-network")
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    nodes = [pod["spec"]["nodeName"] for pod in pods_of(elsewhere, "host-network")]
    assert len(nodes) == 3
    assert len(set(nodes)) < 3


def test_a_service_accounts_token_is_mounted_where_the_template_names_it(cluster: Cluster) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}
    named = job("named", ["python3", "-c", READS_TOKEN, "token"], serviceAccountName="reader")
    cluster.apply(account, named, job("unnamed", ["python3", "-c", READS_TOKEN, "none"]))
    for name in ("named", "unnamed"):
        ended = cluster.finished(name)
        assert ended["status"]["phase"] == "Succeeded", ended["status"]


def config_map(name: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
