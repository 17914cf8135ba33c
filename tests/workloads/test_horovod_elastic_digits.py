"""The elastic Horovod program by itself; for workers that come and go see tests/cluster/test_elastic.py."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

NAME = "horovod_elastic_digits"
MODULE = ("-m", f"ftjob_workloads.{NAME}")
SIGTERM_AT_CALL = Path(__file__).parent / "sigterm_at_call.py"
STEPS_OF_EPOCH = 45
"""1437 samples in batches of 32."""


def test_sigterm_within_an_epoch_saves_and_the_next_run_learns_from_the_rest_of_it(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    size = ("--epochs", 2, "--min-accuracy", 0.8)
    stopped_at = STEPS_OF_EPOCH + 15
    start(tmp_path, SIGTERM_AT_CALL, NAME, "Trainer._learn", stopped_at, *size).finish(exit_code=143)
    result = start(tmp_path, *MODULE, *size).finish().result()
    assert (result["startStep"], result["steps"]) == (stopped_at, 2 * STEPS_OF_EPOCH)
    assert result["testAccuracy"] >= 0.8
    for rows in result["epochs"]:
        assert set(Counter(rows).values()) == {1}, "each sample once"
        assert len(rows) == result["samples"]
