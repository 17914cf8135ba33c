"""Traces as the frameworks' profilers write them, of any size and with what is asked for inside."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

BASE_NS = 1_790_857_026_000_000_000
BEGIN_US = 5_000_000_000.0
VITALS_S = 1_790_861_000
"""A quarter of an hour before the traces."""


@dataclass(frozen=True)
class Planned:
    """What happens in each step, in milliseconds."""

    ranks: int = 4
    steps: int = 5
    first_step: int = 412
    work: float = 60.0
    input: float = 2.0
    transfer: float = 6.0
    slow_rank: int | None = 2
    slow_by: float = 25.0
    slow_input: bool = True
    operators: int = 40
    """A step."""
    clock_off_ms: float = 0.0
    """How much further the clock of each rank is than that of the one before."""


def torch_events(planned: Planned, rank: int) -> list[dict[str, Any]]:
    """The events of one rank."""
    events: list[dict[str, Any]] = [
        {
            "ph": "M",
            "name": "process_name",
            "ts": BEGIN_US,
            "pid": 100 + rank,
            "tid": 0,
            "args": {"name": "python"},
        }
    ]
    at = BEGIN_US + planned.clock_off_ms * 1e3 * rank
    pid, tid = 100 + rank, 100 + rank
    longest = planned.work + planned.input + (planned.slow_by if planned.slow_rank is not None else 0)

    def add(
        name: str, start: float, length: float, cat: str = "cpu_op", thread: int = tid, **args: Any
    ) -> None:
        events.append(
            {
                "ph": "X",
                "cat": cat,
                "name": name,
                "pid": pid,
                "tid": thread,
                "ts": round(start, 3),
                "dur": round(length, 3),
                "args": {"External id": len(events), "Ev Idx": len(events), **args},
            }
        )

    shaped: dict[str, Any] = {"Sequence number": 1, "Input Dims": [[32, 64], [64, 64]]}
    for number in range(planned.steps):
        slow = planned.slow_by if rank == planned.slow_rank else 0.0
        waits = planned.input + (slow if planned.slow_input else 0)
        works = planned.work + (0 if planned.slow_input else slow)
        length = (longest + planned.transfer + 0.4) * 1e3
        add(f"ProfilerStep#{planned.first_step + number}", at, length, "user_annotation")
        add("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", at, waits * 1e3, "user_annotation")
        begin = at + waits * 1e3
        each = works * 1e3 / planned.operators
        for i in range(planned.operators):
            name = ("aten::linear", "aten::conv2d", "aten::layer_norm")[i % 3]
            add(
                name,
                begin + i * each,
                each * 0.98,
                **shaped,
            )
            add("aten::addmm", begin + i * each + each * 0.1, each * 0.7)
        arrived = begin + works * 1e3
        end = at + (longest + planned.transfer) * 1e3
        add(
            "gloo:all_reduce",
            arrived,
            end - arrived,
            "user_annotation",
            tid + 7,
            **{"Input Dims": [[4_000_000]], "Input type": ["float"]},
        )
        at += length
    return events


def torch_trace(planned: Planned, rank: int) -> bytes:
    """The file of one rank, as Kineto lays it out, gzipped."""
    lines = ",\n  ".join(json.dumps(event) for event in torch_events(planned, rank))
    head = {"schemaVersion": 1, "host_name": "node", "displayTimeUnit": "ms", "baseTimeNanoseconds": BASE_NS}
    text = f'{json.dumps(head)[:-1]},\n  "traceEvents": [\n  {lines}\n  ]}}'
    return gzip.compress(text.encode(), 1, mtime=0)


def write_rank(
    outputs: Path, capture: str, rank: int, data: bytes, *, suffix: str = ".pt.trace.json.gz"
) -> Path:
    """Put a rank's file where the hooks put it."""
    raw = outputs / "captures" / capture / "raw" / f"rank-{rank:05d}"
    raw.mkdir(parents=True, exist_ok=True)
    name = f"rank-{rank:05d}.1{suffix}" if suffix.startswith(".pt") else f"rank-{rank:05d}{suffix}"
    (raw / name).write_bytes(data)
    done = {"rank": rank, "firstStep": 412, "lastStep": 416, "files": [name]}
    (raw / "done.json").write_text(json.dumps(done))
    return raw / name


def write_capture(
    outputs: Path, planned: Planned | None = None, capture: str = "c7", name: str = "digits"
) -> Path:
    """Write a capture of all ranks; return its folder."""
    planned = planned or Planned()
    for rank in range(planned.ranks):
        write_rank(outputs, capture, rank, torch_trace(planned, rank))
    write_request(outputs, capture, planned.ranks)
    write_job(outputs, name)
    return outputs / "captures" / capture


def write_request(outputs: Path, capture: str, ranks: int) -> None:
    """Say which ranks were asked for."""
    request = {"version": 1, "id": capture, "attempt": 0, "mode": "OnDemand", "ranks": list(range(ranks))}
    folder = outputs / "captures" / capture
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request.json").write_text(json.dumps(request))


def write_job(outputs: Path, name: str = "digits", **status: object) -> None:
    """Write ``job.yaml``."""
    body = {
        "apiVersion": "ftjob.dev/v1alpha1",
        "kind": "FrameworkTrainingJob",
        "metadata": {"name": name, "uid": "7d0b2a57-2f2c-4b7d-9a53-0d6f1b1c3f11"},
        "spec": {"strategy": "Torchrun"},
        "status": {"phase": "Succeeded", "attempt": 0, **status},
    }
    (outputs / "job.yaml").write_text(json.dumps(body))


def write_vitals(
    outputs: Path,
    planned: Planned,
    blocks: int,
    *,
    seconds: float = 30.0,
    growth: int = 0,
    limit: int | None = None,
) -> None:
    """Write what each rank measured of blocks of 256 steps, as its agent does."""
    folder = outputs / "vitals"
    folder.mkdir(parents=True, exist_ok=True)
    longest = planned.work + planned.input + (planned.slow_by if planned.slow_rank is not None else 0)
    step = longest + planned.transfer
    for rank in range(planned.ranks):
        slow = planned.slow_by if rank == planned.slow_rank else 0.0
        waits = planned.input + (slow if planned.slow_input else 0.0)
        own = planned.work + planned.input + slow
        lines = []
        for number in range(blocks):
            line = {
                "attempt": 0,
                "rank": rank,
                "first": number * 256 + 1,
                "length": 256,
                "node": f"node-{rank // 2}",
                "startS": VITALS_S + number * seconds,
                "endS": VITALS_S + (number + 1) * seconds,
                "stepMs": [step, step * 1.04, step * 1.2],
                "inputMs": [waits, waits * 1.1, waits * 1.5],
                "ownMs": [own + number % 3 * 0.1, own * 1.05, own * 1.2],
                "blockedMs": [step - own, step, step],
                "collectives": 1,
                "cpuMs": own * 0.9,
                "runDelayMs": 0.2,
                "throttledMs": 0.0,
                "rssBytes": (1 << 30) + growth * number,
                "where": [
                    ["train.py:57 load", "input", round(waits / step, 3)],
                    ["train.py:71 loss", "step", 0.5],
                ],
            }
            if number == 0:
                line |= {"isFirst": True} | ({"memoryLimitBytes": limit} if limit else {})
            lines.append(json.dumps(line, separators=(",", ":")))
        (folder / f"rank-{rank:05d}.jsonl").write_text("\n".join(lines) + "\n")
