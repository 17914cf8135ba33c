"""What a person reads about a job."""

from __future__ import annotations

import pytest

from ftjob.cli.words import duration, failure_text, progress_line
from ftjob.models.status import Failure, Progress


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.00005, "50 µs"),
        (0.012, "12 ms"),
        (1.26, "1.3 s"),
        (59.4, "59 s"),
        (200, "3 m 20 s"),
        (7500, "2 h 5 m"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_progress_says_what_is_known() -> None:
    assert progress_line(Progress(step=7)) == "step 7"
    full = Progress(
        step=40,
        total_steps=100,
        percent=40.0,
        epoch=0.5,
        step_seconds=0.05,
        eta_seconds=3,
        metrics={"loss": 0.25},
    )
    assert progress_line(full) == "step 40/100 (40 %), epoch 0.5, 50 ms a step, ETA 3.0 s, loss 0.25"


def test_failure_names_rank_pod_code_and_the_end_of_the_traceback() -> None:
    failure = Failure(
        rank=3, pod="digits-worker-0-1", exit_code=1, reason="Exception", message="a\nValueError: b"
    )
    assert failure_text(failure) == (
        "rank 3 in digits-worker-0-1 failed: Exception, exit code 1\n  a\n  ValueError: b"
    )
    assert failure_text(Failure(reason="Config")) == "the agent failed: Config"


def test_failure_shows_what_the_rank_said_last() -> None:
    failure = Failure(rank=0, exit_code=7, reason="Exit", message="a", log_tail="step 1\nstep 2")
    assert failure_text(failure) == (
        "rank 0 failed: Exit, exit code 7\n  a\nits last lines:\n  | step 1\n  | step 2"
    )
