"""Programs as people write them, in pods: shells in front of them, saves at deletion, uploads at exit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.cluster import job

if TYPE_CHECKING:
    from support.cluster import Cluster

SAVES = """
import json, multiprocessing, os, signal, sys, time
folder = os.environ["FTJOB_CHECKPOINT_DIR"]
os.makedirs(folder, exist_ok=True)
whole, partial = os.path.join(folder, "whole"), os.path.join(folder, "partial")

def hold(here):
    here.recv()
    here.send("state")

if os.environ["FTJOB_ATTEMPT"] != "0":
    sys.exit(0 if os.path.exists(whole) else 9)
here, there = multiprocessing.Pipe()
multiprocessing.get_context("fork").Process(target=hold, args=(there,)).start()
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
    file.write(json.dumps({"step": 1}) + "\\n")
while not asked:
    time.sleep(0.1)
print("saving", flush=True)
here.send("end")
with open(partial, "w") as file:
    for _ in range(4):
        time.sleep(0.5)
        file.write(here.recv() if here.poll() else "part")
os.rename(partial, whole)
print("saved", flush=True)
"""
"""Saves for two seconds at SIGTERM, with a child's help; the next attempt fails unless the save is whole."""

FAILS = "raise ConnectionError('the cache does not answer')"
UPLOADS = """
import atexit, os, time

def upload():
    for part in range(8):
        time.sleep(1)
        with open(os.path.join(os.environ["FTJOB_OUTPUTS"], "parts"), "a") as file:
            file.write(f"part {part}\\n")

atexit.register(upload)
raise ValueError("the loss is not a number")
"""
FINDS_TORCHRUN = """
import os, sys
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
assert sys.argv[1:] == [str(rank), str(world)], sys.argv
assert os.environ["GROUP_WORLD_SIZE"] == "2" and os.environ["ROLE_WORLD_SIZE"] == "4", os.environ
assert os.environ["TORCHELASTIC_RUN_ID"], os.environ
"""


def with_outputs(made: dict[str, Any]) -> dict[str, Any]:
    made["spec"]["outputs"] = {}
    return made


def test_a_deleted_pod_saves_behind_a_shell_and_tee_and_with_a_child(cluster: Cluster) -> None:
    fronts = {
        "alone": ["python3", "-c", SAVES],
        "shell": ["sh", "-c", 'echo preparing; python3 -c "$0"; code=$?; exit $code', SAVES],
        "tee": ["bash", "-o", "pipefail", "-c", 'python3 -c "$0" 2>&1 | tee $FTJOB_OUTPUTS/log', SAVES],
    }
    cluster.apply(*(with_outputs(job(name, command)) for name, command in fronts.items()))
    for name in fronts:
        cluster.until("ftj", name, "{.status.progress.step}=1")
        cluster.kubectl("delete", "pod", f"{name}-worker-0-0", "--wait=false")
    for name in fronts:
        ended = cluster.finished(name)
        assert ended["status"]["phase"] == "Succeeded", ended["status"]
        assert ended["status"]["attempt"] == 1


def test_a_rank_ends_as_its_first_process_does_and_in_its_own_time(cluster: Cluster) -> None:
    tolerates = 'python3 -c "$0" || echo going on; sleep 7'
    until = 'until [ -e mark ]; do python3 -c "$0"; sleep 7; touch mark; done'
    there = "/ftjob/outputs"
    jobs = [
        job("tolerates", ["sh", "-c", tolerates, FAILS]),
        job("until", ["sh", "-c", f"cd {there}; {until}", FAILS]),
        job("uploads", ["python3", "-c", UPLOADS]),
    ]
    cluster.apply(*map(with_outputs, jobs))
    for name in ("tolerates", "until"):
        ended = cluster.finished(name)
        assert ended["status"]["phase"] == "Succeeded", ended["status"]
    ended = cluster.finished("uploads")
    assert ended["status"]["failure"]["message"].endswith("ValueError: the loss is not a number")
    assert (cluster.outputs_of(ended) / "parts").read_text().count("\n") == 8


def test_ranks_find_torchruns_names_in_their_environment_and_command(cluster: Cluster) -> None:
    command = ["python3", "-c", FINDS_TORCHRUN, "$(RANK)", "$(WORLD_SIZE)"]
    cluster.apply(job("names", command, strategy="Torchrun", workers=2, processes=2))
    ended = cluster.finished("names")
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
