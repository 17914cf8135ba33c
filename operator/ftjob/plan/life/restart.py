"""Whether another attempt follows a failure, and when. Pure.

A *failure* is the program's own: it spends ``restart.limit``. A *disruption* is what the cluster did to it:
an eviction, a preemption, a lost node or network, a deleted pod. It is free, as long as the job gets on
between two.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from ftjob.models.spec import RestartAction
from ftjob.plan.plan import RestartDecision
from ftjob_protocol.reasons import Reason
from ftjob_protocol.values.ranges import parse_ranges

if TYPE_CHECKING:
    from ftjob.models.spec import Restart
    from ftjob.models.status import Failure, Restarts

LONGEST_BACKOFF = 300.0
SHORT_LIFE_SECONDS = 10.0
"""What lived less than this is not started again before it, doubled each time, whatever the job says: a
program that can't start would cost the cluster pods, Events and status writes without end."""
JITTER = 0.2
"""Share by which a wait may be longer: jobs that one cause has ended don't come back in the same second."""
FRUITLESS_DISRUPTIONS = 10
"""So many in a row, without a step in between, and the job gives up: something here ends it each time."""


def judge(
    failure: Failure,
    spec: Restart,
    done: Restarts,
    *,
    disruption: bool,
    progressed: bool,
    lived: float,
    seed: str,
) -> RestartDecision:
    """Decide whether another attempt follows.

    Parameters
    ----------
    failure
        The first failing rank; the others are its victims and are not asked.
    done
        The restarts so far.
    disruption
        Whether the cluster, not the program, ended the rank.
    progressed
        Whether the job has made a step since the last restart.
    lived
        Seconds for which the attempt has run.
    seed
        Makes the jitter: the same for the same job and attempt.
    """
    in_a_row = 0 if progressed else done.in_a_row or 0
    first_wait = first_backoff(spec, is_short=lived < SHORT_LIFE_SECONDS)
    wait = backoff(first_wait, in_a_row if disruption else done.failures, seed)
    rule = next((rule for rule in spec.rules if rule.on_reason == failure.reason), None)
    if rule is not None and rule.action is RestartAction.FAIL:
        return RestartDecision(False, disruption, f"restart.rules ends the job at {failure.reason}")
    if disruption and not spec.count_disruptions:
        if in_a_row >= FRUITLESS_DISRUPTIONS:
            why = f"{in_a_row + 1} disruptions in a row without a step in between"
            return RestartDecision(False, disruption, why)
        return RestartDecision(True, disruption, "a disruption, which does not spend restart.limit", wait)
    spent = done.failures + (done.disruptions if spec.count_disruptions else 0)
    # A rank that hangs has not exited: what its program thinks of another attempt is not known.
    listed = failure.reason == Reason.HANG or _is_listed(failure.exit_code, spec.retry_exit_codes)
    if rule is None and not disruption and not listed:
        code = "no exit code" if failure.exit_code is None else f"exit code {failure.exit_code}"
        return RestartDecision(
            False, disruption, f"{code} is not in restart.retryExitCodes ({spec.retry_exit_codes})"
        )
    if spent >= spec.limit:
        return RestartDecision(False, disruption, f"restart.limit is {spec.limit}")
    return RestartDecision(True, disruption, f"restart {spent + 1} of {spec.limit}", wait)


def first_backoff(spec: Restart, *, is_short: bool) -> float:
    """Return the wait before the first restart, after a life that was short, or not."""
    return max(spec.backoff_seconds, SHORT_LIFE_SECONDS) if is_short else spec.backoff_seconds


def backoff(seconds: float, times: int, seed: str) -> float:
    """Return the wait before a restart: doubled each time, 300 s at most, and up to a fifth longer."""
    longest = min(LONGEST_BACKOFF, seconds * 2.0 ** min(times, 16))
    return longest * (1.0 + JITTER * (zlib.crc32(f"{seed}/{times}".encode()) % 1000) / 1000)


def _is_listed(code: int | None, ranges: str) -> bool:
    return code is not None and any(code in found for found in parse_ranges(ranges))
