"""Measures in kind how long two pods take from `kubectl apply` to the last rank's first line, and in what.

A plain Indexed Job, two bare pods and a FrameworkTrainingJob take turns. Its parts:

- created: the last pod is in the API server (kubectl, the job's controller);
- scheduled: the last pod has its node;
- started: the last container's first process runs (sandbox, volumes, container);
- first line: the last rank's (the agent, and agents' meeting).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from bench.burst import indexed_job
from support.control_cluster import plain_job

CONTEXT = "kind-ftjob"
NAMESPACE = "bench-start"
IMAGE = "ftjob-workload-tensorflow:dev"
PODS = 2
SECONDS = 120
PARTS = ("created", "scheduled", "started", "first line")
# When the first process of the container began, by the kernel's clock, and now.
SAYS = """
import os, time
now = time.time()
ticks = int(open("/proc/1/stat").read().rpartition(")")[2].split()[19])
began = now - float(open("/proc/uptime").read().split()[0]) + ticks / os.sysconf("SC_CLK_TCK")
print(began, now, flush=True)
"""
COMMAND = ["python3", "-c", SAYS]

Manifest = dict[str, Any]


def kubectl(*args: str, stdin: str | None = None) -> str:
    """Run kubectl in the namespace that is measured in."""
    command = ["kubectl", "--context", CONTEXT, "--namespace", NAMESPACE, *args]
    return subprocess.run(command, input=stdin, text=True, capture_output=True, check=True).stdout


@dataclass
class Watch:
    """When each pod was first seen, and first seen with a node."""

    created: dict[str, float] = field(default_factory=dict)
    scheduled: dict[str, float] = field(default_factory=dict)
    over: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        """Follow the pods in a thread."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?watch=true"
        command = ["kubectl", "--context", CONTEXT, "get", "--raw", path]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._follow, daemon=True).start()
        time.sleep(1)

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            now, pod = time.time(), json.loads(line)["object"]
            name = pod["metadata"]["name"]
            self.created.setdefault(name, now)
            if pod["spec"].get("nodeName"):
                self.scheduled.setdefault(name, now)
            if pod["status"].get("phase") in {"Succeeded", "Failed"}:
                self.over.setdefault(name, now)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def with_command(template: Manifest) -> Manifest:
    """Have the pods of a template say when they began."""
    (container,) = template["spec"]["containers"]
    container |= {"name": "trainer", "image": IMAGE, "imagePullPolicy": "Never", "command": COMMAND}
    container.pop("args", None)
    return template


def plain(number: int) -> list[Manifest]:
    """Return an Indexed Job and its Service."""
    (_, service), (_, job) = indexed_job(number)
    job["spec"] |= {"completions": PODS, "parallelism": PODS}
    with_command(job["spec"]["template"])
    return [service, job]


def bare(number: int) -> list[Manifest]:
    """Return two pods."""
    template = plain(number)[1]["spec"]["template"]
    spec = {key: value for key, value in template["spec"].items() if key != "subdomain"}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"bare-{number}-{index}"}, "spec": spec}
        for index in range(PODS)
    ]


def ours(number: int) -> list[Manifest]:
    """Return a FrameworkTrainingJob."""
    job = plain_job(f"ours-{number}", NAMESPACE, workers=PODS)
    with_command(job["spec"]["template"])
    return [job]


ARMS = {"plain Job": plain, "bare pods": bare, "ftjob": ours}


def once(manifests: list[Manifest]) -> list[float]:
    """Return the seconds from `kubectl apply` to each part's end."""
    watch = Watch()
    watch.start()
    try:
        began = time.time()
        kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        )
        limit = time.time() + SECONDS
        while len(watch.over) < PODS:
            if time.time() > limit:
                raise TimeoutError(f"only {len(watch.over)} of {PODS} pods have ended")
            time.sleep(0.1)
        said = [tuple(map(float, kubectl("logs", name, "-c", "trainer").split())) for name in watch.over]
    finally:
        watch.stop()
        kubectl("delete", "ftj,jobs,pods,services", "--all", "--wait=true")
    ends = (watch.created.values(), watch.scheduled.values(), *zip(*said, strict=True))
    return [max(end) - began for end in ends]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=7)
    args = parser.parse_args()
    subprocess.run(
        ["kubectl", "--context", CONTEXT, "create", "namespace", NAMESPACE], capture_output=True, check=False
    )
    found: dict[str, list[list[float]]] = {name: [] for name in ARMS}
    once(ours(99))  # the namespace's first: the agent's ConfigMap comes with it
    for number in range(args.repetitions):
        for name, make in ARMS.items():
            found[name].append(once(make(number)))
    print(f"{PODS} pods in kind, seconds from `kubectl apply`; medians (and ranges) of {args.repetitions}")
    for name, runs in found.items():
        parts = zip(PARTS, zip(*runs, strict=True), strict=True)
        print(
            f"  {name:10}",
            ", ".join(f"{p} {statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})" for p, v in parts),
        )
    ratios = [o[-1] / p[-1] for o, p in zip(found["ftjob"], found["plain Job"], strict=True)]
    print(
        f"  ftjob x {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) of a plain Job"
    )


if __name__ == "__main__":
    main()
