"""Attention: our own is torch's, nothing comes through a mask, and it learns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.attention")
MASKS = ("none", "padding", "causal", "both")


@pytest.fixture(scope="module")
def whole(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> Program:
    return start(tmp_path_factory.mktemp("attention"), *MODULE, "--smoke").finish()


def test_values_and_gradients_are_torch_s(whole: Program) -> None:
    found = whole.result()["equal"]
    assert set(found) == {f"{what}, {mask}" for what in ("kernel", "module") for mask in MASKS}
    assert 0 < max(found.values()) <= 1e-5  # two ways of computing: never the same to the last bit


def test_nothing_comes_through_a_mask(whole: Program) -> None:
    found = whole.result()["hidden"]
    assert found["padding, hidden"] == found["causal, hidden"] == 0
    assert found["padding, seen"] > 0
    assert found["causal, seen"] > 0


def test_a_model_trained_with_our_own_learns_and_works_with_torch_s(whole: Program) -> None:
    assert whole.result()["train"]["testAccuracy"] >= 0.92
    assert whole.result()["train"]["difference"] <= 1e-4


def test_both_are_measured_forward_and_backward_under_each_mask(whole: Program) -> None:
    columns = {"ownForward", "torchForward", "ownBackward", "torchBackward"}
    for length in (64, 128):
        table = whole.result()[f"length {length}"]
        assert set(table) == set(MASKS)
        assert all(set(row) == columns and min(row.values()) > 0 for row in table.values())
        assert f"{length} tokens, ms" in whole.output()


@pytest.mark.parametrize(
    ("mutant", "complaint"),
    [
        ("unscaled_scores", "differs from torch by"),
        ("padding_seen", "padding, hidden tokens: a gradient of"),
        ("future_seen", "causal, hidden tokens: a gradient of"),
    ],
)
def test_a_mistake_is_noticed(
    start: Callable[..., Program], tmp_path: Path, mutant: str, complaint: str
) -> None:
    wrong = start(tmp_path, HERE / "torch_mutant.py", "attention", mutant, "--smoke").finish(exit_code=1)
    assert complaint in wrong.output()
    assert not (tmp_path / "results").exists()


def test_sigterm_keeps_what_is_done_and_the_next_run_does_the_rest(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    first = start(tmp_path, HERE / "sigterm_at_call.py", "attention", "train", 1, "--smoke")
    assert "stopped after train, 3 of 5 parts are done" in first.finish(exit_code=143).output()
    assert not (tmp_path / "results").exists()
    second = start(tmp_path, *MODULE, "--smoke", name="second").finish()
    assert second.result()["resumed"] == ["equal", "hidden", "train"]
    assert "length 128" in second.result()
