"""The performance analyser: files that the collector reads, and optimizations that change only the time."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.analyse")
STEPS = 5
OTHERS = ("attention", "vision-torch", "bert", "transformer", "vision-keras")


@pytest.fixture(scope="module")
def program(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Stop it after torch's half, and go on with TensorFlow's."""
    folder = tmp_path_factory.mktemp("analyse")
    stopping = (HERE / "sigterm_in_part.py", "analyse", "digits-torch optimize")
    start(folder, *stopping, "--smoke").finish(exit_code=143)
    return start(folder, *MODULE, "--smoke", name="second").finish()


@pytest.fixture(scope="module")
def others(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Analyse the models of other workloads, on a machine that has no C++ compiler."""
    models = ("--model", *OTHERS, "--batch-size", 8)
    folder = tmp_path_factory.mktemp("others")
    return start(folder, *MODULE, "--smoke", *models, env={"CXX": "no-such-compiler"}).finish()


def raw(program: Program, capture: str) -> Path:
    return program.folder / "captures" / capture / "raw" / "rank-00000"


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("capture", ["digits-torch", "digits-keras"])
def test_a_capture_is_marked_as_complete_and_names_its_files(program: Program, capture: str) -> None:
    done = read(raw(program, capture) / "done.json")
    assert (done["rank"], done["firstStep"], done["lastStep"]) == (0, 1, STEPS)
    assert sorted(file.name for file in raw(program, capture).iterdir()) == sorted(
        [*done["files"], "done.json"]
    )
    assert len(done["files"]) == 1
    assert [file.name for file in raw(program, capture).parent.iterdir()] == ["rank-00000"]
    assert read(program.folder / "captures" / capture / "request.json")["id"] == capture
    for path in (raw(program, capture), raw(program, capture).parent, program.folder / "system"):
        assert path.stat().st_mode == program.folder.stat().st_mode, path
    for file in raw(program, capture).iterdir():
        assert file.stat().st_mode & 0o777 == 0o644, file


def test_torchs_trace_has_every_step_and_its_operators(program: Program) -> None:
    (file,) = raw(program, "digits-torch").glob("rank-00000.*.pt.trace.json.gz")
    with gzip.open(file, "rt") as text:
        events = json.load(text)["traceEvents"]
    names = [event.get("name", "") for event in events if event.get("ph") == "X"]
    assert {name for name in names if name.startswith("ProfilerStep#")} == {
        f"ProfilerStep#{step}" for step in range(1, STEPS + 1)
    }
    assert names.count("aten::conv2d") == 2 * STEPS
    assert any("onvolutionBackward" in name for name in names)
    top = program.result()["digits-torch capture"]["top"]
    assert len(top) == 5
    assert all(operator["ms"] > 0 for operator in top)


def test_tensorflows_trace_has_every_step_also_for_tensorboard(program: Program) -> None:
    file = raw(program, "digits-keras") / "rank-00000.xplane.pb"
    trace = file.read_bytes()
    assert b"step_num" in trace
    assert b"Conv2D" in trace
    assert trace.count(b"train") >= 1
    board = program.folder / "plugins" / "profile" / "digits-keras" / "rank-00000.xplane.pb"
    assert board.read_bytes() == trace


def test_every_second_is_sampled(program: Program) -> None:
    lines = (program.folder / "system" / "rank-00000.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines]
    assert len(samples) >= 5
    assert all(
        set(sample) == {"timeNs", "cpuSeconds", "rssBytes", "threads", "readBytes", "writeBytes", "pod"}
        for sample in samples
    )
    times = [sample["timeNs"] for sample in samples]
    assert times == sorted(times)
    assert max(sample["rssBytes"] for sample in samples) > 100e6
    assert samples[-1]["cpuSeconds"] > 1
    assert program.result()["samples"]["taken"] <= len(samples)


def test_optimized_graphs_learn_the_same(program: Program) -> None:
    for model, variants in (
        ("digits-torch", ["eager", "torch.compile"]),
        ("digits-keras", ["eager", "graph", "graph, Grappler", "graph, XLA"]),
    ):
        found = program.result()[f"{model} optimize"]
        assert list(found["losses"]) == list(found["milliseconds"]) == variants
        assert found["leftOut"] == {}
        first, *_, last = found["losses"]["eager"]
        assert last < first
        for losses in found["losses"].values():
            assert (losses[0], losses[-1]) == pytest.approx((first, last), rel=1e-3)
        assert all(time > 0 for time in found["milliseconds"].values())


def test_the_graphs_were_really_optimized(program: Program) -> None:
    assert program.result()["digits-torch optimize"]["proof"]["graphs"] >= 1
    assert program.result()["digits-torch optimize"]["proof"]["graphBreaks"] == 0
    keras = program.result()["digits-keras optimize"]["proof"]
    assert keras["fusions"] >= 3
    assert 20 <= keras["nodesAfterGrappler"] < keras["nodes"]


def test_models_of_other_workloads_are_captured_too(others: Program) -> None:
    for model in OTHERS:
        (file,) = read(raw(others, model) / "done.json")["files"]
        assert file.endswith(".xplane.pb" if model == "vision-keras" else ".pt.trace.json.gz")
        assert others.result()[f"{model} optimize"]["losses"]["eager"][-1] > 0


def test_without_a_compiler_only_torch_compile_is_left_out_and_it_says_so(others: Program) -> None:
    for model in OTHERS[:-1]:
        found = others.result()[f"{model} optimize"]
        assert list(found["milliseconds"]) == ["eager"]
        assert "there is no no-such-compiler" in found["leftOut"]["torch.compile"]
    assert others.result()["vision-keras optimize"]["leftOut"] == {}
    assert "torch.compile is left out: it needs a C++ compiler" in others.output()


def test_sigterm_keeps_what_is_finished_and_the_next_run_does_the_rest(program: Program) -> None:
    assert (
        "stopped after digits-torch optimize, 2 of 5 parts are done"
        in (program.folder / "log.txt").read_text()
    )
    assert program.result()["resumed"] == ["digits-torch capture", "digits-torch optimize"]
