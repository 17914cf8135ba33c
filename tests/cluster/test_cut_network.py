"""The network between two pods of a job is cut for a while, as a failing switch or a new CNI does."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.scenario import UNTIL_RESTARTED, delete_and_look, history, restarts, scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster import Cluster

CUT_SECONDS = 40


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


def test_forty_seconds_without_network_between_two_pods_cost_a_free_restart(cluster: Cluster) -> None:
    made = scenario("cut", UNTIL_RESTARTED)
    made["spec"]["restart"]["limit"] = 0
    cluster.apply(made)
    cluster.until("ftj", "cut", "{.status.phase}=Running")
    with history(cluster, "cut") as seen:
        with cut(cluster, "cut-worker-0-0", "cut-worker-0-1"):
            time.sleep(CUT_SECONDS)
        ended = cluster.finished("cut")
    seen.check()
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    assert restarts(ended) == (1, 0, 1)
    assert seen.reasons == ["LostContact"]
    delete_and_look(cluster, "cut")
