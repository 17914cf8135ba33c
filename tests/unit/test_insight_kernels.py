"""Traces with kernels of a GPU. They are constructed: the corpus has none that was recorded on one."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.traces import BASE_NS, write_job, write_rank, write_request

from ftjob.insight.outputs import summary_of

if TYPE_CHECKING:
    from pathlib import Path

STEP, STEPS = 10_000.0, 5
"""Microseconds of a step, and how many there are."""
STREAM, NCCL_STREAM = 7, 20
EXCHANGE = {
    "Collective name": "allreduce",
    "In msg nelems": 250_000,
    "dtype": "Float",
    "Process Group Name": "0",
}


def trace(*, kernel: float, every: float, arrives: float) -> bytes:
    """A rank whose kernels take so long and begin so often, up to its all-reduce; all in microseconds."""
    events: list[dict[str, Any]] = []

    def add(cat: str, name: str, start: float, length: float, thread: int, **args: Any) -> None:
        event = {"ph": "X", "cat": cat, "name": name, "ts": start, "dur": length, "pid": 0, "tid": thread}
        events.append(event | {"args": args})

    for number in range(STEPS):
        at = number * STEP
        add("user_annotation", f"ProfilerStep#{412 + number}", at, STEP, 1)
        add("cpu_op", "aten::mm", at, 400, 1)  # the CPU is done long before the GPU
        begin = 0.0
        while begin + every <= arrives:
            add("kernel", "sm90_xmma_gemm_f32f32", at + begin, kernel, STREAM)
            begin += every
        add("gpu_memset", "Memset (Device)", at + begin, 2, STREAM)
        length = 9_000 - arrives
        add(
            "kernel", "ncclDevKernel_AllReduce_Sum_f32_RING_LL", at + arrives, length, NCCL_STREAM, **EXCHANGE
        )
    head = {"schemaVersion": 1, "baseTimeNanoseconds": BASE_NS, "traceEvents": events}
    return gzip.compress(json.dumps(head).encode(), 1, mtime=0)


def write(outputs: Path, *ranks: bytes) -> None:
    for rank, data in enumerate(ranks):
        write_rank(outputs, "c7", rank, data)
    write_request(outputs, "c7", len(ranks))
    write_job(outputs)


def test_the_work_of_a_gpu_is_its_kernels_and_the_wait_is_that_of_the_collective(tmp_path: Path) -> None:
    fast, slow = (trace(kernel=290, every=300, arrives=arrives) for arrives in (6_000, 8_000))
    write(tmp_path, fast, fast, slow, fast)
    found = summary_of(tmp_path, "c7")
    (exchange,) = found.collectives
    assert (exchange.operation, exchange.bytes, exchange.per_step) == ("all_reduce", 1_000_000, 1.0)
    assert exchange.last_arrival == {"2": 1.0}
    assert exchange.transfer_ms == pytest.approx(1)
    assert [rank.blocked_ms for rank in found.ranks] == pytest.approx([3, 3, 1, 3], abs=0.01)
    assert [(each.kind, each.ranks) for each in found.findings] == [("Straggler", [2])]
    names = [operator.name for operator in found.ranks[2].operators]
    assert names == ["sm90_xmma_gemm_f32f32", "Memset (Device)"]
    assert found.ranks[2].operators[0].count == STEPS * 26


def test_a_gpu_that_idles_between_small_kernels_is_launch_bound(tmp_path: Path) -> None:
    write(tmp_path, *[trace(kernel=8, every=20, arrives=8_000)] * 2)
    (finding,) = summary_of(tmp_path, "c7").findings
    assert finding.kind == "LaunchBound"
    assert finding.text == "launch-bound: the GPU idles 58 %; kernels of 8 µs"


def test_a_gpu_that_idles_between_large_kernels_is_not(tmp_path: Path) -> None:
    write(tmp_path, *[trace(kernel=80, every=200, arrives=8_000)] * 2)
    assert summary_of(tmp_path, "c7").findings == []
