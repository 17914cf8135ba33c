"""Measures a burst of jobs on fake nodes, against plain Indexed Jobs that a client creates in the same run.

Both are created by the same client over the same connections, in turns, each repetition in a namespace of
its own; a watch tells when the last pod runs, and when the last status says that all of its job's pods do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import PATHS, in_words, measured_cluster, runs
from bench.control_plane import NODES
from bench.cpu import cpu_seconds, used_since
from support.control_cluster import plain_job

from ftjob.models.names import PLURAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.api import Api
    from support.control_cluster import Operator

Manifest = dict[str, Any]

WORKERS = 4
GIVE_UP_SECONDS = 300
COUNTED = Path(__file__).parent / "counted"


@dataclass(frozen=True)
class Arm:
    """One way to get a job's pods."""

    name: str
    plural: str
    make: Callable[[int], list[tuple[str, Manifest]]]
    says_running: Callable[[Manifest], bool]


def indexed_job(number: int) -> list[tuple[str, Manifest]]:
    """Return an Indexed Job with the headless Service that its pods would find each other by."""
    name = f"job-{number}"
    template = plain_job(name, "")["spec"]["template"]
    spec = template["spec"] | {"restartPolicy": "Never", "subdomain": name}
    spec["enableServiceLinks"] = False
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completions": WORKERS,
            "parallelism": WORKERS,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "template": {"spec": spec},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"clusterIP": "None", "selector": {"job-name": name}, "publishNotReadyAddresses": True},
    }
    return [("services", service), ("jobs", job)]


def training_job(number: int) -> list[tuple[str, Manifest]]:
    """Return the same as a FrameworkTrainingJob."""
    job = plain_job(f"job-{number}", "", workers=WORKERS)
    del job["metadata"]["namespace"]
    return [(PLURAL, job)]


PLAIN = Arm("plain Jobs", "jobs", indexed_job, lambda job: job.get("status", {}).get("ready") == WORKERS)
OURS = Arm("ftjob", PLURAL, training_job, lambda job: "runningTime" in job.get("status", {}))


async def burst(api: Api, namespace: str, arm: Arm, jobs: int) -> tuple[float, float]:
    """Create so many jobs; return the seconds until all pods run, and until every status says so."""
    await api.make_namespace(namespace)
    manifests = [item for number in range(jobs) for item in arm.make(number)]
    pods = asyncio.create_task(api.until(namespace, "pods", runs, jobs * WORKERS))
    said = asyncio.create_task(api.until(namespace, arm.plural, arm.says_running, jobs))
    await asyncio.sleep(1)  # both watches are open
    began = time.perf_counter()
    await api.create(namespace, manifests)
    async with asyncio.timeout(GIVE_UP_SECONDS):
        return await pods - began, await said - began


async def clear(api: Api, namespace: str, plural: str) -> None:
    """Delete a namespace's jobs and pods, and wait until the fake kubelets have let go of them."""
    query = "?propagationPolicy=Background"
    for kind in (plural, "services", "pods"):
        await api.send("DELETE", f"{PATHS[kind]}/namespaces/{namespace}/{kind}{query}")
    pods = f"{PATHS['pods']}/namespaces/{namespace}/pods?limit=1"
    while (await api.send("GET", pods))["items"]:  # noqa: ASYNC110  it happens in other processes
        await asyncio.sleep(0.5)
    await asyncio.sleep(3)  # what deletion leaves the controllers to do is not the next arm's burden


async def reaction(api: Api, namespace: str, number: int) -> float:
    """Return the seconds from a job's creation to that of its last pod."""
    pods = asyncio.create_task(api.until(namespace, "pods", lambda _: True, WORKERS))
    await asyncio.sleep(0.5)
    began = time.perf_counter()
    await api.create(namespace, training_job(number))
    seconds = await pods - began
    await clear(api, namespace, PLURAL)
    return seconds


def memory_megabytes(operator: Operator) -> float:
    """Return the operator's resident memory."""
    for line in Path(f"/proc/{operator.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("no VmRSS")


def requests(operator: Operator) -> int:
    """Return the operator's requests, those that the target leaves out aside."""
    aside = {("create", "pods"), ("create", "events"), ("create", "persistentvolumeclaims")}
    return sum(
        count
        for (verb, resource, _), count in operator.requests().items()
        if resource != "leases" and verb != "list" and (verb, resource) not in aside
    )


def signing(told: Path) -> str:
    """Return what the operator has used for it; the first requests to each leader are among them."""
    used = json.loads(told.read_text())
    share = 100 * used["seconds"] / used["process"]
    return f"{share:.2f} %, {1e3 * used['seconds']:.0f} ms for {used['requests']} requests"


async def measure(jobs: int, repetitions: int) -> None:
    """Print all figures."""
    async with measured_cluster() as (api, operator):
        print(f"operator, idle               {memory_megabytes(operator):.0f} MB, target 100 MB")
        await api.make_namespace("one")
        waits = [await reaction(api, "one", number) for number in range(10)]
        print(f"job created to pods created  {in_words(waits, 's')}, target 0.5 s", flush=True)
        times: dict[str, list[tuple[float, float]]] = {PLAIN.name: [], OURS.name: []}
        per_job = []
        for repetition in range(repetitions):
            for arm in (PLAIN, OURS) if repetition % 2 == 0 else (OURS, PLAIN):
                before, cpu = requests(operator), cpu_seconds()
                found = await burst(api, f"{arm.plural}-{repetition}", arm, jobs)
                times[arm.name].append(found)
                await asyncio.sleep(1)  # what the operator may still write belongs to the jobs
                if arm is OURS:
                    per_job.append((requests(operator) - before) / jobs)
                print(
                    f"  {arm.name:10} all pods run {found[0]:.2f} s, every status {found[1]:.2f} s; "
                    f"{used_since(cpu)}",
                    flush=True,
                )
                await clear(api, f"{arm.plural}-{repetition}", arm.plural)
        for index, (what, target) in enumerate((("until all pods run", 1.0), ("until every status", 0.9))):
            ratios = [ours[index] / plain[index] for plain, ours in zip(*times.values(), strict=True)]
            print(
                f"{jobs} jobs x {WORKERS}, {what:18} {in_words(ratios, 'x')} of plain Jobs, target {target} x"
            )
        print(f"requests a job               {in_words(per_job, '')}, target 4")
        print(f"operator, after {jobs} jobs     {memory_megabytes(operator):.0f} MB")
        print(f"signing, of its CPU time     {signing(Path(os.environ['FTJOB_BENCH_SIGNING']))}, target 2 %")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    print(f"{NODES} fake nodes, {args.repetitions} repetitions", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FTJOB_BENCH_SIGNING"] = str(Path(folder) / "signing.json")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(COUNTED), os.environ.get("PYTHONPATH", "")])
        asyncio.run(measure(args.jobs, args.repetitions))


if __name__ == "__main__":
    main()
