"""Progress and profiles of TensorFlow and Keras trainings, without a change to them."""

from pathlib import Path

import pytest
from support.hook_env import MODES, Steps, hooks_in, profile_of, rank_env, record, run
from support.xplanes import space_of

# The first test of a group waits for the run that all look at.
pytestmark = [pytest.mark.xdist_group("hooks-tensorflow"), pytest.mark.timeout(600)]

LOOPS = [
    "eager",
    "function",
    "function_run_eagerly",
    "killed",
    "jit",
    "inner_function",
    "concrete",
    "mirrored",
    "mirrored_function_in_run",
    "mirrored_eager",
    "two_optimizers",
    "two_functions",
    "the_first_is_used_up",
    "accumulation",
    "accumulation_of_keras",
    "resumed",
    "one_after_the_other",
]
# Their own profiler begins before the capture, within its warm-up, within it, and after it.
OWN_PROFILER = ["session_1_12", "keras_4_8", "context_6_6", "jax_6_9", "summary_7_8"]
FITS = [
    "fit",
    "fit_several_per_execution",
    "fit_mirrored",
    "fit_of_unknown_length",
    "fit_accumulating",
    "fit_continued",
]
MIXED = ["fit_twice_then_loop"]
TF_KERAS = ["eager", "function", "mirrored", "legacy_optimizer", "fit", "fit_several_per_execution"]


def _run(folder: Path, modes: list[str], families: str = "tensorflow", **env: str) -> Path:
    hooks = hooks_in(folder / "ftjob-agent.pyz")
    profile = profile_of(folder / "@MODE@", skipFirst=2, wait=1, warmup=1, active=2, repeat=2)
    run(rank_env(hooks, folder, FTJOB_PROFILE=profile, **env), MODES, families, folder, *modes)
    return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of all trainings, each profiled: steps 5, 6 and 9, 10."""
    modes = [*LOOPS, *FITS, *MIXED, *OWN_PROFILER]
    return _run(tmp_path_factory.mktemp("tensorflow"), modes, "tensorflow,profilers_tensorflow")


@pytest.fixture(scope="module")
def ran_on_tf_keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _run(tmp_path_factory.mktemp("tf-keras"), TF_KERAS, TF_USE_LEGACY_KERAS="1")


@pytest.mark.parametrize("mode", [*LOOPS, *FITS, *MIXED, *OWN_PROFILER])
def test_the_steps_are_those_of_the_script(ran: Path, mode: str) -> None:
    assert Steps.read(ran / mode).step == int((ran / mode / "steps.txt").read_text())
    assert record(ran / mode, "hooks.json")["frameworks"] == ["tensorflow", "keras"]


@pytest.mark.parametrize("mode", TF_KERAS)
def test_the_steps_on_tf_keras_are_those_of_the_script(ran_on_tf_keras: Path, mode: str) -> None:
    folder = ran_on_tf_keras / mode
    assert Steps.read(folder).step == int((folder / "steps.txt").read_text())
    assert record(folder, "hooks.json")["frameworks"] == ["tensorflow", "tf_keras"]


@pytest.mark.parametrize("mode", FITS)
def test_fit_tells_how_much_there_is_to_do(ran: Path, mode: str) -> None:
    steps = Steps.read(ran / mode)
    assert (steps.total, steps.epoch) == (steps.step, steps.step / 10)
    assert steps.flags == 1


@pytest.mark.parametrize("mode", FITS)
def test_fit_tells_its_metrics(ran: Path, mode: str) -> None:
    metrics = record(ran / mode, "metrics.json")
    assert metrics["loss"] > 0
    assert ("val_loss" in metrics) == (mode == "fit")


def test_fit_on_tf_keras_tells_the_same(ran_on_tf_keras: Path) -> None:
    steps = Steps.read(ran_on_tf_keras / "fit")
    assert (steps.total, steps.epoch, steps.flags) == (30, 3.0, 1)
    assert record(ran_on_tf_keras / "fit", "metrics.json")["loss"] > 0


@pytest.mark.parametrize(
    "mode", ["function", "jit", "mirrored", "fit", "fit_mirrored", "fit_of_unknown_length"]
)
def test_each_capture_is_an_xplane_of_its_window(ran: Path, mode: str) -> None:
    for capture, window in (("s0", (5, 6)), ("s1", (9, 10))):
        raw = ran / mode / "captures" / capture / "raw" / "rank-00000"
        done = record(raw, "done.json")
        assert (done["firstStep"], done["lastStep"]) == window
        assert done["files"] == ["rank-00000.xplane.pb"]
        assert "partial" not in done
        plugin = ran / mode / "plugins" / "profile" / capture / "rank-00000.xplane.pb"
        assert plugin.read_bytes() == (raw / "rank-00000.xplane.pb").read_bytes()
        (host,) = (plane for plane in space_of(plugin).planes if plane.name == "/host:CPU")
        assert "train" in {event.name for event in host.event_metadata.values()}
    assert record(ran / mode, "hooks.json")["notes"] == []


def test_fit_with_several_steps_a_call_is_captured_at_its_boundaries(ran: Path) -> None:
    raw = ran / "fit_several_per_execution" / "captures" / "s0" / "raw" / "rank-00000"
    done = record(raw, "done.json")
    assert (done["firstStep"], done["lastStep"]) == (5, 8)


def test_a_training_that_ends_in_a_capture_leaves_what_there_is(ran: Path) -> None:
    raw = ran / "one_after_the_other" / "captures" / "s1" / "raw" / "rank-00000"
    assert "partial" not in record(raw, "done.json")
    raw = ran / "accumulation" / "captures" / "s0" / "raw" / "rank-00000"
    assert record(raw, "done.json")["lastStep"] == 6
    raw = ran / "mirrored_eager" / "captures" / "s0" / "raw" / "rank-00000"
    assert record(raw, "done.json")["files"] == ["rank-00000.xplane.pb"]


def test_a_script_that_profiles_itself_gets_the_profiler(ran: Path) -> None:
    """The modes look at that profile themselves; `make test-profilers` runs all orders."""
    for mode in OWN_PROFILER:
        (note,) = record(ran / mode, "hooks.json")["notes"]
        assert "profiler itself" in note
        done = ran / mode / "captures" / "s0" / "raw" / "rank-00000" / "done.json"
        assert done.exists() == (mode in {"context_6_6", "jax_6_9", "summary_7_8"})
    done = record(ran / "context_6_6" / "captures" / "s0" / "raw" / "rank-00000", "done.json")
    assert (done["firstStep"], done["lastStep"], done["partial"]) == (5, 5, True)


def test_nothing_temporary_is_left(ran: Path) -> None:
    # A rank that is killed in the middle of a capture can't tidy up.
    folders = [folder for folder in ran.iterdir() if folder.is_dir() and folder.name != "killed"]
    assert len(folders) == len([*LOOPS, *FITS, *MIXED, *OWN_PROFILER]) - 1
    assert [path for folder in folders for path in folder.rglob("*") if path.name.endswith(".tmp")] == []
