"""Measures the restart of a whole job on fake nodes, against a plain Job that is deleted and created again.

What is measured begins, for ftjob, with the first pod's end: one worker fails, and the others' agents end
theirs, as they do when a rank is gone. For the plain Job it begins when the client deletes it: nobody else
would. It is deleted in the foreground and created again when it is gone, so that no pod of the next attempt
runs beside one of the last, which is what ftjob sees to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from bench.api import CONNECTIONS, PATHS, in_words, measured_cluster, runs
from bench.control_plane import NODES
from support.control_cluster import plain_job

from ftjob.models.names import LABEL_ATTEMPT, LABEL_INDEX, PLURAL
from ftjob.plan.life.restart import SHORT_LIFE_SECONDS

if TYPE_CHECKING:
    from bench.api import Api

Manifest = dict[str, Any]

LIFE_SECONDS = SHORT_LIFE_SECONDS + 2
"""The operator restarts later what lived shorter."""
GIVE_UP_SECONDS = 300
GONE = {"version": 1, "attempt": 0, "state": "Stopped"}


def plain(workers: int) -> Manifest:
    """Return an Indexed Job."""
    spec = plain_job("plain", "")["spec"]["template"]["spec"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "plain"},
        "spec": {
            "completions": workers,
            "parallelism": workers,
            "completionMode": "Indexed",
            "template": {"spec": spec | {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0}},
        },
    }


def ended(pod: Manifest, time_ns: int) -> Manifest:
    """Return the status of a pod whose agent has said why it ended."""
    first = pod["metadata"]["labels"][LABEL_INDEX] == "1"
    failure = {
        "rank": int(pod["metadata"]["labels"][LABEL_INDEX]),
        "timeNs": time_ns,
        "class": "Exit" if first else "Stopped",
        "exitCode": 137 if first else 143,
        "message": "",
    }
    said = json.dumps(GONE | {"failure": failure})
    state = {"terminated": {"exitCode": failure["exitCode"], "reason": "Error", "message": said}}
    container = {
        "name": "trainer",
        "image": "example/train",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
    }
    return {"status": {"phase": "Failed", "containerStatuses": [container | {"state": state}]}}


async def pods(api: Api, namespace: str) -> list[Manifest]:
    """Return all pods, the first to fail in front."""
    path = f"{PATHS['pods']}/namespaces/{namespace}/pods"
    found: list[Manifest] = (await api.send("GET", path))["items"]
    return sorted(found, key=lambda pod: pod["metadata"]["labels"].get(LABEL_INDEX) != "1")


async def fail(api: Api, namespace: str) -> None:
    """End all pods as agents do when a rank of index 1 is killed."""
    waiting = iter(await pods(api, namespace))

    async def some() -> None:
        for pod in waiting:
            path = f"{PATHS['pods']}/namespaces/{namespace}/pods/{pod['metadata']['name']}/status"
            await api.patch(path, ended(pod, time.time_ns()))

    await asyncio.gather(*(some() for _ in range(CONNECTIONS)))


async def ours(api: Api, namespace: str, workers: int) -> tuple[float, float]:
    """Return the seconds until the next attempt's pods are created, and until they run."""
    job = plain_job("job", "", workers=workers, restart={"limit": 9, "backoffSeconds": 0, "inPlace": False})
    del job["metadata"]["namespace"]
    job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0
    first = asyncio.create_task(api.until(namespace, "pods", runs, workers))
    await api.create(namespace, [(PLURAL, job)])
    await first

    def again(pod: Manifest) -> bool:
        return bool(pod["metadata"]["labels"][LABEL_ATTEMPT] == "1")

    made = asyncio.create_task(api.until(namespace, "pods", again, workers))
    run = asyncio.create_task(api.until(namespace, "pods", lambda pod: again(pod) and runs(pod), workers))
    await asyncio.sleep(LIFE_SECONDS)
    began = time.perf_counter()
    await fail(api, namespace)
    return await made - began, await run - began


async def theirs(api: Api, namespace: str, workers: int) -> float:
    """Return the seconds from a plain Job's deletion until the pods of the next one run."""
    first = asyncio.create_task(api.until(namespace, "pods", runs, workers))
    await api.create(namespace, [("jobs", plain(workers))])
    await first
    old = {pod["metadata"]["uid"] for pod in await pods(api, namespace)}
    run = asyncio.create_task(
        api.until(namespace, "pods", lambda pod: runs(pod) and pod["metadata"]["uid"] not in old, workers)
    )
    await asyncio.sleep(2)
    began = time.perf_counter()
    path = f"{PATHS['jobs']}/namespaces/{namespace}/jobs/plain"
    await api.send("DELETE", f"{path}?propagationPolicy=Foreground")
    while (await api.send("GET", path))["kind"] == "Job":  # noqa: ASYNC110  it happens in other processes
        await asyncio.sleep(0.02)
    await api.create(namespace, [("jobs", plain(workers))])
    return await run - began


async def measure(workers: int, repetitions: int) -> None:
    """Print all figures."""
    made, ratios = [], []
    async with measured_cluster() as (api, _):
        for repetition in range(repetitions):
            found: dict[str, float] = {}
            for arm in ("plain", "ours") if repetition % 2 == 0 else ("ours", "plain"):
                namespace = f"{arm}-{repetition}"
                await api.make_namespace(namespace)
                async with asyncio.timeout(GIVE_UP_SECONDS):
                    if arm == "plain":
                        found[arm] = await theirs(api, namespace, workers)
                    else:
                        created, found[arm] = await ours(api, namespace, workers)
                        made.append(created)
                for plural in ("jobs", PLURAL, "pods"):
                    await api.send("DELETE", f"{PATHS[plural]}/namespaces/{namespace}/{plural}")
                await asyncio.sleep(2)
            ratios.append(found["ours"] / found["plain"])
            print(f"  plain Job {found['plain']:.2f} s, ftjob {found['ours']:.2f} s", flush=True)
    print(f"pod failed to next attempt created  {in_words(made, 's')}, target 1 s beyond the grace period")
    print(f"restart of {workers} workers             {in_words(ratios, 'x')} of a plain Job, target 0.4 x")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    print(f"{NODES} fake nodes, {args.repetitions} repetitions", flush=True)
    asyncio.run(measure(args.workers, args.repetitions))


if __name__ == "__main__":
    main()
