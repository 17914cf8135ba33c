"""The network between two pods of a job is cut for a while, as a failing switch or a new CNI does."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from support.cluster import job
from support.scenario import UNTIL_RESTARTED, delete_and_look, history, restarts, scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster import Cluster

CUT_SECONDS = 40
ADDS_UP = """
import datetime, json, os, time
import torch, torch.distributed as dist
dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=20))
for step in range(1, 10 if os.environ["FTJOB_ATTEMPT"] != "0" else 10_000):
    dist.all_reduce(torch.ones(4))
    if step == 1:
        with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
            file.write(json.dumps({"step": 1}) + "\\n")
    time.sleep(0.1)
dist.destroy_process_group()
"""
"""Its ranks miss each other after 20 s, and agents after 30."""


@contextmanager
def cut(cluster: Cluster, one: str, other: str) -> Iterator[None]:
    """Drop every packet between two pods while the block runs."""
    pods = [cluster.get("pod", name) for name in (one, other)]
    node = pods[1]["spec"]["nodeName"]
    ends = [pod["status"]["podIP"] for pod in pods]
    done: list[tuple[str, str]] = []

    def rule(verb: str, source: str, target: str) -> None:
        match = ["FORWARD", "-s", source, "-d", target, "-j", "DROP"]
        subprocess.run(["docker", "exec", node, "iptables", verb, *match], check=True, timeout=60)

    try:
        for way in (ends, ends[::-1]):
            rule("-I", *way)
            done.append((way[0], way[1]))
        yield
    finally:
        for source, target in done:
            rule("-D", source, target)


def test_forty_seconds_without_network_between_two_pods_cost_a_free_restart(frameworks: Cluster) -> None:
    """Also when the ranks die of it before their agents miss each other."""
    cluster, names = frameworks, ("cut", "gloo")
    waits = scenario("cut", UNTIL_RESTARTED)
    gloo = job("gloo", ["python3", "-c", ADDS_UP], strategy="Torchrun", workers=2, frameworks=True)
    gloo["spec"]["restart"] = waits["spec"]["restart"] = {"limit": 0, "backoffSeconds": 0}
    cluster.apply(waits, gloo)
    cluster.until("ftj", "cut", "{.status.phase}=Running")
    cluster.until("ftj", "gloo", "{.status.progress.step}=1")
    with ExitStack() as recorded:
        seen = {name: recorded.enter_context(history(cluster, name)) for name in names}
        with ExitStack() as cuts:
            for name in names:
                cuts.enter_context(cut(cluster, f"{name}-worker-0-0", f"{name}-worker-0-1"))
            time.sleep(CUT_SECONDS)
        ended = {name: cluster.finished(name) for name in names}
    for name in names:
        seen[name].check()
        assert ended[name]["status"]["phase"] == "Succeeded", ended[name]["status"]
        assert restarts(ended[name]) == (1, 0, 1)
        assert seen[name].reasons == ["LostContact"]
        delete_and_look(cluster, name)
