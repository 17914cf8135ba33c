"""What real profilers have written, and what is read of it.

They are those of torch 2.15, Horovod 0.28.1, TensorFlow 2.21 and JAX 0.10.2, all on CPUs: there is none with
kernels of a GPU.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ftjob.insight.collect.capture import collect, write_timeline
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    from ftjob.insight.summary import Summary

TRACES = Path(__file__).parents[1] / "corpus" / "traces"


def summary_of(name: str, tmp_path: Path) -> tuple[Summary, set[str]]:
    """Return the summary of a capture, and the names in its timeline."""
    shutil.copytree(TRACES / name, tmp_path / "captures" / "s0" / "raw")
    with Folder(str(tmp_path)) as outputs:
        found = collect(outputs, "s0")
        write_timeline(outputs, found)
    events = json.loads(gzip.decompress((tmp_path / "captures" / "s0" / "merged.trace.json.gz").read_bytes()))
    return found.summary, {event["name"] for event in events["traceEvents"]}


def steps_of(name: str) -> list[int]:
    done = json.loads((TRACES / name / "rank-00000" / "done.json").read_text())
    return [done["firstStep"], done["lastStep"]]


def test_the_files_are_small() -> None:
    assert all(path.stat().st_size <= 200_000 for path in TRACES.rglob("*") if path.is_file())


def test_ddp_has_its_steps_its_all_reduce_and_one_clock(tmp_path: Path) -> None:
    found, names = summary_of("torch-ddp", tmp_path)
    assert found.capture is not None
    assert found.capture.steps == steps_of("torch-ddp")
    assert found.capture.ranks.read == [0, 1]
    assert found.capture.clock.method == "CollectiveEnds"
    (exchange,) = found.collectives
    assert (exchange.operation, exchange.bytes, exchange.per_step) == ("all_reduce", 36, 1.0)
    for rank in found.ranks:
        assert rank.step_ms is not None
        assert rank.own_ms is not None
        assert 0 < rank.own_ms < rank.step_ms
        assert any(operator.name.startswith("aten::") for operator in rank.operators)
    assert {"gloo:all_reduce", "aten::addmm", f"ProfilerStep#{found.capture.steps[0]}"} <= names


def test_fsdp2_has_its_gathers_and_scatters_of_each_layer(tmp_path: Path) -> None:
    found, names = summary_of("torch-fsdp2", tmp_path)
    assert found.capture is not None
    assert found.capture.steps == steps_of("torch-fsdp2")
    assert found.capture.ranks.read == [0, 1]
    assert found.capture.clock.method == "CollectiveEnds"
    # Of two layers: gathered for both passes, and scattered after the second, which gloo does by all-reduces.
    exchanged = sorted((row.operation, row.bytes, row.per_step) for row in found.collectives)
    assert exchanged == [
        ("all_gather", 2064, 2.0),
        ("all_gather", 16640, 2.0),
        ("all_reduce", 4128, 1.0),
        ("all_reduce", 33280, 1.0),
    ]
    for rank in found.ranks:
        assert rank.step_ms is not None
        assert rank.own_ms is not None
        assert 0 < rank.own_ms < rank.step_ms
        assert rank.input_ms is not None
        assert {"c10d::_allgather_base_", "c10d::_reduce_scatter_base_"} <= {
            operator.name for operator in rank.operators[:4]
        }
    assert {"gloo:all_gather", "aten::addmm", f"ProfilerStep#{found.capture.steps[0]}"} <= names


def test_horovods_exchange_leaves_no_event_and_counts_as_blocked(tmp_path: Path) -> None:
    found, names = summary_of("torch-horovod", tmp_path)
    assert found.capture is not None
    assert found.capture.steps == steps_of("torch-horovod")
    assert found.collectives == []
    assert found.verdict.seen["collectives"] is False
    for rank in found.ranks:
        assert rank.step_ms is not None
        assert rank.own_ms is not None
        assert 0 < rank.own_ms < rank.step_ms
    assert "NEGOTIATE_ALLREDUCE" in names


def test_tensorflow_has_its_steps_and_operators_by_their_kind(tmp_path: Path) -> None:
    found, _ = summary_of("tensorflow", tmp_path)
    assert found.job.framework == "tensorflow"
    assert found.capture is not None
    assert found.capture.steps == steps_of("tensorflow")
    (rank,) = found.ranks
    names = {operator.name for operator in rank.operators}
    assert any("MatMul" in name for name in names), names
    assert not any("/" in name or ":" in name for name in names)


def test_jax_has_the_steps_that_the_program_marks_its_operators_and_collectives(tmp_path: Path) -> None:
    found, names = summary_of("jax", tmp_path)
    assert found.job.framework == "jax"
    assert found.capture is not None
    assert found.capture.steps == [79, 88]
    assert found.capture.ranks.read == [0, 1]
    assert found.capture.clock.method == "CollectiveEnds"
    (exchange,) = found.collectives
    assert (exchange.operation, exchange.per_step) == ("all_reduce", 1.0)
    assert found.verdict.seen == {"input": False, "collectives": True}
    for rank in found.ranks:
        assert rank.step_ms is not None
        assert rank.own_ms is not None
        assert 250 < rank.own_ms < rank.step_ms  # it sleeps for 250 ms
        assert [operator.name for operator in rank.operators[:2]] == ["dot", "ynn_fusion"]
        assert rank.operators[0].count == 33  # three in each of the ten steps, and of one that is cut off
    assert {"train", "dot.3", "all-reduce.2"} <= names


def test_jax_without_steps_has_its_slow_rank_named_and_one_clock(tmp_path: Path) -> None:
    found, _ = summary_of("jax-slow", tmp_path)
    assert found.capture is not None
    assert found.capture.steps == []
    (finding,) = found.findings
    assert (finding.kind, finding.ranks, finding.confidence) == ("Straggler", [1], "Medium")
    assert finding.text.startswith("straggler: rank 1 comes last to ")
    assert found.verdict.text == finding.text
