"""Hybrid NLP: equal token ids, a BERT that uses context, and one attention in two frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ftjob_workloads import installed_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.hybrid_nlp")


@pytest.fixture(scope="module")
def programs(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """Stop it after 50 steps and go on."""
    folder = tmp_path_factory.mktemp("nlp")
    stopping = (HERE / "sigterm_in_part.py", "hybrid_nlp", "train to step 50")
    return {
        "stopped": start(folder, *stopping, "--smoke").finish(exit_code=143),
        "resumed": start(folder, *MODULE, "--smoke", name="second").finish(),
    }


def test_both_tokenizers_give_the_same_ids_for_every_sentence(programs: dict[str, Program]) -> None:
    found = programs["resumed"].result()["tokenizers"]
    assert found["sentences"] >= 10_000
    assert found["different"] == 0
    assert found["tokens"] > 5 * found["sentences"]
    kinds = found["kinds"]
    assert kinds["accents"] >= 50
    assert kinds["cjk"] >= 20
    assert kinds["emoji"] >= 1000
    assert kinds["longWords"] >= 3
    assert kinds["unknown"] >= 20


def test_the_sentences_are_of_the_kinds_that_they_are_counted_as() -> None:
    assert installed_text.kinds("naïve") == {"accents"}
    assert installed_text.kinds("首都") == {"cjk"}
    assert installed_text.kinds("done 🚨") == {"emoji"}
    assert installed_text.kinds("a" * 101) == {"longWords"}
    assert installed_text.kinds("plain \u00d7 text " + "a" * 100 + "_" + "a" * 100) == set()


def test_with_the_libraries_own_limits_some_ids_differ(programs: dict[str, Program]) -> None:
    assert programs["resumed"].result()["tokenizers"]["differentWithDefaultLimits"] >= 1


def test_bert_learns_from_context(programs: dict[str, Program]) -> None:
    found = programs["resumed"].result()["test"]
    assert found["gained"] >= 0.2
    assert found["loss"] == pytest.approx(found["lossByFrequency"] - found["gained"])


def test_embeddings_know_neighbours(programs: dict[str, Program]) -> None:
    found = programs["resumed"].result()["embeddings"]
    embeddings = np.load(programs["resumed"].folder / "results" / "embeddings.npy")
    assert embeddings.shape == (found["sentences"], 128)
    assert np.isfinite(embeddings).all()
    assert found["sentences"] >= 200
    assert found["neighboursMoreAlike"] >= 0.6


def test_tensorflow_attends_to_torchs_embeddings_as_torch_does(programs: dict[str, Program]) -> None:
    found = programs["resumed"].result()["attention"]
    assert 0 < found["context"] <= 1e-5
    assert 0 < found["weights"] <= 1e-5
    assert found["largestContext"] > 0.1, "nothing is equal to nothing"


def test_sigterm_keeps_what_is_learned_and_the_next_run_goes_on(programs: dict[str, Program]) -> None:
    stopped, resumed = programs["stopped"], programs["resumed"]
    assert "stopped after train to step 50, 2 of" in stopped.output()
    assert resumed.result()["resumed"] == ["tokenizers", "train to step 50"]
    assert resumed.result()["train to step 120"]["step"] == 120
    assert "\nstep 50 loss" not in (resumed.folder / "second.txt").read_text(encoding="utf-8")
