"""Measures the operator with many running jobs on fake nodes: its memory, and its work when all is quiet."""

from __future__ import annotations

import argparse
import asyncio
import time

from bench.api import measured_cluster
from bench.burst import GIVE_UP_SECONDS, OURS, WORKERS, memory_megabytes
from bench.control_plane import NODES
from bench.cpu import cpu_seconds

IDLE_SECONDS = 60
SETTLE_SECONDS = 20
BATCH = 200


async def measure(jobs: int) -> None:
    """Print all figures."""
    async with measured_cluster() as (api, operator):
        namespace = "many"
        await api.make_namespace(namespace)
        began = time.perf_counter()
        said = asyncio.create_task(api.until(namespace, OURS.plural, OURS.says_running, jobs))
        await asyncio.sleep(1)
        for first in range(0, jobs, BATCH):
            manifests = [item for number in range(first, first + BATCH) for item in OURS.make(number)]
            await api.create(namespace, manifests)
        async with asyncio.timeout(GIVE_UP_SECONDS * 4):
            seconds = await said - began
        print(f"{jobs} jobs x {WORKERS}, until every status  {seconds:.0f} s", flush=True)
        await asyncio.sleep(SETTLE_SECONDS)
        writes, cpu = operator.writes(), cpu_seconds()["operator"]
        await asyncio.sleep(IDLE_SECONDS)
        cpu = cpu_seconds()["operator"] - cpu
        print(
            f"operator, all of them running  {memory_megabytes(operator):.0f} MB, target 200 MB at 2,000 jobs"
        )
        print(f"  in {IDLE_SECONDS} s: {cpu / IDLE_SECONDS:.1%} of a core, to ask all leaders")
        print(f"  writes meanwhile, its Lease aside: {operator.writes() - writes}, target 0")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2000)
    args = parser.parse_args()
    print(f"{NODES} fake nodes", flush=True)
    asyncio.run(measure(args.jobs))


if __name__ == "__main__":
    main()
