"""Nobody stops the operator: not the API server on a bad day, and no job however it is made."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.apiserver import NEWEST, ApiServer
from support.control_cluster import (
    WAIT_SECONDS,
    Namespace,
    Operator,
    plain_job,
    running_kubelet,
    running_operator,
)
from support.crds import OURS, install, of_others
from support.fault_proxy import FaultProxy, fault_proxy

from ftjob.models.names import PLURAL

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

KINDS = {PLURAL, "pods"}
"""One that kopf watches, and one that we watch."""
REFUSED_SECONDS = 20
"""Longer than kopf itself would try again."""
LONG_REFUSED_SECONDS = 90
"""As long as it takes to notice that a role was deleted, and to put it back."""
VOLCANO = "podgroups.scheduling.volcano.sh"


def lives(operator: Operator, space: Namespace, name: str, **spec: Any) -> None:
    """See that a good job is served from its start to its end, and that the operator says it is well."""
    began = time.monotonic()
    space.submit(name, **spec)
    space.await_pods(name)
    print(f"{name}: its pods run {time.monotonic() - began:.1f} s after it was made")
    assert operator.process.poll() is None
    assert operator.get("/healthz") == (200, "ok\n")


def refuse(code: int) -> Callable[[FaultProxy], None]:
    def act(proxy: FaultProxy) -> None:
        proxy.refused |= dict.fromkeys(KINDS, code)
        proxy.end_watches()
        time.sleep(REFUSED_SECONDS)
        proxy.refused.clear()

    return act


def spoil(line: bytes) -> Callable[[FaultProxy], None]:
    def act(proxy: FaultProxy) -> None:
        proxy.spoil |= dict.fromkeys(KINDS, line)
        proxy.end_watches()
        time.sleep(3)
        proxy.spoil.clear()

    return act


def hang(proxy: FaultProxy) -> None:
    proxy.hanging |= KINDS
    proxy.end_watches()
    time.sleep(5)
    proxy.hanging.clear()


FAULTS = {
    "404": refuse(404),
    "500": refuse(500),
    "an error in the stream": spoil(b'{"type":"ERROR","object":{"kind":"Status","code":500}}\n'),
    "an old version": spoil(b'{"type":"ERROR","object":{"kind":"Status","code":410}}\n'),
    "broken JSON": spoil(b'{"type":"MODIFIED","obj\n'),
    "a hung connection": hang,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_after_a_bad_day_of_the_api_server_good_jobs_are_served(
    server: ApiServer, space: Namespace, tmp_path: Path, fault: Callable[[FaultProxy], None]
) -> None:
    with (
        fault_proxy(server, tmp_path) as proxy,
        running_operator(server, tmp_path, namespace=space.name, kubeconfig=proxy.kubeconfig) as operator,
        running_kubelet(server, space.name) as kubelet,
    ):
        lives(operator, space, "before")
        fault(proxy)
        assert proxy.hits.keys() == KINDS, "the fault was met"
        lives(operator, space, "after")
        kubelet.finish()
        space.await_phase("Succeeded", "before")


def test_a_crd_may_go_and_come_back(server: ApiServer, space: Namespace, tmp_path: Path) -> None:
    with (
        running_operator(server, tmp_path, namespace=space.name) as operator,
        running_kubelet(server, space.name),
    ):
        lives(operator, space, "before")
        assert server.kubectl("delete", "-f", str(OURS)).returncode == 0
        time.sleep(REFUSED_SECONDS)
        install(server)
        lives(operator, space, "after")


def test_ninety_seconds_of_403_and_a_gang_scheduler_s_crd_that_goes_and_comes_back(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    def delete() -> None:
        assert server.kubectl("delete", "-f", str(of_others("volcano"))).returncode == 0

    install(server, "volcano")
    with (
        fault_proxy(server, tmp_path) as proxy,
        running_operator(server, tmp_path, namespace=space.name, kubeconfig=proxy.kubeconfig) as operator,
        running_kubelet(server, space.name),
    ):
        lives(operator, space, "before", scheduling={"gang": "Volcano"})
        delete()
        lives(operator, space, "without-volcano")
        proxy.refused |= dict.fromkeys(KINDS, 403)
        proxy.end_watches()
        time.sleep(LONG_REFUSED_SECONDS)
        install(server, "volcano")
        proxy.refused.clear()
        assert proxy.hits.keys() == KINDS, "the fault was met"
        lives(operator, space, "after")
        lives(operator, space, "with-volcano", scheduling={"gang": "Volcano"})
        assert {group["metadata"]["name"] for group in space.list(VOLCANO)} == {"with-volcano-0"}
    delete()


def deep_job(space: Namespace, levels: int) -> bytes:
    """Return a job with so many levels in its template; Python's own encoder would not write it."""
    body = plain_job(f"deep-{levels}", space.name)
    body["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = "THIS"
    return json.dumps(body).encode().replace(b'"THIS"', b'{"a":' * levels + b"{}" + b"}" * levels)


def await_status(server: ApiServer, space: Namespace, name: str, said: str) -> None:
    """Wait for phase and message of a job that few can read as a whole."""
    path = "{.status.phase} {.status.conditions[0].reason} {.status.conditions[0].message}"
    deadline, found = time.monotonic() + WAIT_SECONDS, ""
    while not found.startswith(said):
        assert time.monotonic() < deadline, found
        read = server.kubectl("-n", space.name, "get", "ftj", name, "-o", f"jsonpath={path}")
        assert read.returncode == 0, read.stderr
        found = read.stdout


def test_a_job_that_is_too_deep_is_named_and_harms_no_other(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    depths = (900, 1_010, 1_100, 3_000, 9_000)
    with running_kubelet(server, space.name):
        with running_operator(server, tmp_path, namespace=space.name) as operator:
            for levels in depths:
                answer = space.client.send("POST", space.path(PLURAL), deep_job(space, levels))
                assert answer.code in {201, 0} or levels > 8_000, (levels, answer.message)
            lives(operator, space, "good")
        with running_operator(server, tmp_path, namespace=space.name) as operator:
            lives(operator, space, "good-after-a-restart")
            for levels in depths[:4]:
                said = "Failed InvalidSpec spec: it has more than 100 levels of nesting"
                await_status(server, space, f"deep-{levels}", said)


MEGABYTE = 1 << 20
RSS_MAX = 200 * MEGABYTE
"""As much as the operator may have had at any time, a restart included; the chart's limit is 512 MiB.

It was 111 MB with 60 jobs of 1 MB, 167 MB after a restart, and 130 MB with 100 that were suspended. Before,
ten of 1 MB took 351 MB. The API server needs seconds for each, so fewer are made here.
"""


@pytest.mark.parametrize(
    ("number", "size", "spec", "said"),
    [
        (15, MEGABYTE, {}, "Failed InvalidSpec spec: it is larger than 256 KiB"),
        (30, MEGABYTE // 4, {"suspend": True}, "Suspended"),
    ],
    ids=["refused", "suspended"],
)
def test_large_jobs_take_no_memory(
    server: ApiServer,
    space: Namespace,
    tmp_path: Path,
    number: int,
    size: int,
    spec: dict[str, Any],
    said: str,
) -> None:
    body = plain_job("large", space.name, **spec)
    body["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = [{}] * (size // 3 - 1_000)
    text = json.dumps(body, separators=(",", ":")).encode()
    with running_kubelet(server, space.name):
        with running_operator(server, tmp_path, namespace=space.name) as operator:
            for index in range(number):
                named = text.replace(b'"large"', f'"large-{index}"'.encode(), 1)
                answer = space.client.send("POST", space.path(PLURAL), named)
                assert answer.code == 201, answer.message
            lives(operator, space, "good")
            assert peak(operator) <= RSS_MAX
        with running_operator(server, tmp_path, namespace=space.name) as operator:
            lives(operator, space, "good-after-a-restart")
            await_status(server, space, f"large-{number - 1}", said)
            assert peak(operator) <= RSS_MAX


def peak(operator: Operator) -> int:
    """Return the most memory that a process has had, in bytes."""
    status = Path(f"/proc/{operator.process.pid}/status").read_text()
    found = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
    print(f"peak {found / MEGABYTE:.0f} MB")
    return found


def test_a_job_of_10_000_workers_holds_up_no_other(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    hard = {"spec": {"hard": {"pods": "40"}}, "metadata": {"name": "few"}}
    space.create("resourcequotas", {"apiVersion": "v1", "kind": "ResourceQuota", **hard})
    with (
        running_operator(server, tmp_path, namespace=space.name) as operator,
        running_kubelet(server, space.name),
    ):
        space.submit("huge", workers=10_000)
        space.await_job(lambda job: job.get("status", {}).get("startTime") is not None, "huge")
        lives(operator, space, "good")
        lags = [line for line in operator.get("/metrics")[1].splitlines() if "ftjob_loop_lag_seconds" in line]
        print("\n".join(lags))
        assert operator.process.poll() is None
