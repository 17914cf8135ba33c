"""Creates the largest job of every strategy against a real API server, and says how long its pods take.

The pods get no node: what is measured is the operator, and whether the API server takes them all. Each
strategy has an API server of its own, since etcd holds 2 GiB.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from support.apiserver import NEWEST, running_api_server
from support.control_cluster import Namespace, new_namespace, running_operator
from support.crds import install
from support.large import large

from ftjob.models.names import API_VERSION, KIND, PLURAL
from ftjob.plan.layout import cluster_layout
from ftjob.strategies import STRATEGIES

GIVE_UP_SECONDS = 1200


def main() -> None:
    """Print a row for each strategy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("strategies", nargs="*", default=list(STRATEGIES), metavar="STRATEGY")
    print("strategy                  pods    seconds   a second   largest pod   operator's peak")
    for strategy in parser.parse_args().strategies:
        with tempfile.TemporaryDirectory() as folder:
            print(row(strategy, Path(folder)), flush=True)


def row(strategy: str, folder: Path) -> str:
    """Return what one strategy's largest job costs."""
    job = large(strategy)
    spec = {key: value for key, value in job.spec.items() if value is not None}
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": job.name}, "spec": spec}
    planned = len(cluster_layout(job.build(), 0).workers)
    with running_api_server(NEWEST, folder) as server, server.client() as client:
        install(server)
        space = new_namespace(client)
        with running_operator(server, folder, namespace=space.name) as operator:
            began = time.monotonic()
            space.create(PLURAL, body)
            while pods(space) < planned:
                if time.monotonic() > began + GIVE_UP_SECONDS:
                    return f"{strategy:22}{pods(space):8} of {planned} pods after {GIVE_UP_SECONDS} s"
                time.sleep(0.5)
            seconds = time.monotonic() - began
            peak = peak_megabytes(operator.process.pid)
        first = client.send("GET", space.path("pods"), limit="500").body["items"]
    largest = max(len(json.dumps(pod, separators=(",", ":"))) for pod in first)
    return f"{strategy:22}{planned:8}{seconds:11.0f}{planned / seconds:11.0f}{largest:8} bytes{peak:15.0f} MB"


def pods(space: Namespace) -> int:
    """Return how many pods there are."""
    page = space.client.send("GET", space.path("pods"), limit="1").body
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


def peak_megabytes(pid: int) -> float:
    """Return the largest memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kilobytes) / 1e3


if __name__ == "__main__":
    main()
