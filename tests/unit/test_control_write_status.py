"""Which part of a status is written, and when."""

from typing import Any

import pytest
from support.control_fake import Clock, merge

from ftjob.control.observability.pace import Pace, Urgency, urgency_of
from ftjob.control.write_status import merge_patch
from ftjob.models.status import KEYS


@pytest.mark.parametrize(
    ("old", "new", "ours", "patch"),
    [
        ({"phase": "Running"}, {"phase": "Running"}, {"phase": "Running"}, {}),
        ({}, {"attempt": 0}, {"attempt": 0}, {"attempt": 0}),
        ({"nextRestartTime": "t"}, {}, {"nextRestartTime": "t"}, {"nextRestartTime": None}),
        ({"fromTheFuture": 1}, {"attempt": 0}, {}, {"attempt": 0}),
        (
            {"progress": {"step": 1, "metrics": {"loss": 1.0}}},
            {"progress": {"step": 2, "metrics": {}}},
            {"progress": {"step": 1, "metrics": {"loss": 1.0}}},
            {"progress": {"step": 2, "metrics": {"loss": None}}},
        ),
        (
            {"restarts": {"failedNodes": ["a", "b"]}},
            {"restarts": {"failedNodes": ["b"]}},
            {"restarts": {"failedNodes": ["a", "b"]}},
            {"restarts": {"failedNodes": ["b"]}},
        ),
        ({"percent": 20}, {"percent": 20.0}, {"percent": 20.0}, {}),
    ],
)
def test_a_patch_holds_what_differs_and_removes_only_what_we_know(
    old: dict[str, Any], new: dict[str, Any], ours: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert merge_patch(old, new, ours=ours) == patch
    assert merge(old, patch) == {**{k: v for k, v in old.items() if k not in ours}, **new}


FOREIGN = {"bytes": 7, "files": {"old": 1, "new": [{"id": "x"}]}}


@pytest.mark.parametrize("path", [(), ("profile",)])
@pytest.mark.parametrize(("name", "key"), KEYS.items())
def test_fields_of_a_newer_operator_stay_in_entries_of_lists(
    name: str, key: str, path: tuple[str, ...]
) -> None:
    ours: dict[str, Any] = {name: [{key: "a", "said": 1}, {key: "b", "said": 1, "why": "x"}, {key: "c"}]}
    old: dict[str, Any] = {name: [ours[name][0], ours[name][1] | FOREIGN, ours[name][2] | FOREIGN]}
    new: dict[str, Any] = {name: [{key: "d"}, {key: "b", "said": 2}, {key: "a", "said": 1}]}
    want: dict[str, Any] = {name: [new[name][0], new[name][1] | FOREIGN, new[name][2]]}
    for outer in path:
        old, new, ours, want = ({outer: found} for found in (old, new, ours, want))
    assert merge_patch(old, new, ours=ours) == want
    assert merge_patch(old, ours, ours=ours) == {}


ROLES = [{"name": "worker", "ready": 1, "succeededIndexes": ""}]
QUEUED = {"type": "Admitted", "status": "False", "reason": "Queued", "message": "waits"}
WAITS = {
    "type": "Running",
    "status": "False",
    "reason": "Unschedulable",
    "message": "pod a (and 8 more): no node",
}


@pytest.mark.parametrize(
    ("patch", "effects", "urgency"),
    [
        ({"progress": {"step": 2}}, False, Urgency.PROGRESS),
        ({"progress": {"step": 2}}, True, Urgency.PROGRESS),
        ({"progress": {"step": 2}, "display": {"eta": "3m"}}, False, Urgency.PROGRESS),
        ({"progress": {"step": 2, "totalSteps": 9}}, False, Urgency.COUNTS),
        ({"phase": "Running", "progress": {"step": 2}}, False, Urgency.NOW),
        ({"roles": [ROLES[0] | {"ready": 2}]}, True, Urgency.COUNTS),
        (
            {"roles": [ROLES[0] | {"succeededIndexes": "1"}], "display": {"workers": "1/2"}},
            False,
            Urgency.COUNTS,
        ),
        ({"roles": [ROLES[0] | {"succeededIndexes": "1"}]}, True, Urgency.NOW),
        ({"conditions": [QUEUED, WAITS | {"message": "pod b (and 7 more): no node"}]}, False, Urgency.COUNTS),
        ({"conditions": [QUEUED, WAITS | {"message": "x"}], "display": {"eta": "3m"}}, False, Urgency.COUNTS),
        ({"conditions": [QUEUED, WAITS | {"message": "x"}], "phase": "Failed"}, False, Urgency.NOW),
        (
            {"conditions": [QUEUED, WAITS | {"message": "x", "reason": "ImagePullBackOff"}]},
            False,
            Urgency.SOON,
        ),
        ({"conditions": [QUEUED, WAITS, WAITS | {"type": "Restarting"}]}, False, Urgency.NOW),
        ({"conditions": None}, False, Urgency.NOW),
        ({"conditions": [QUEUED, WAITS | {"status": "True"}]}, False, Urgency.NOW),
        ({"profile": {"lastCaptureId": "s1"}, "progress": {"step": 2}}, False, Urgency.SOON),
        ({"conditions": [QUEUED | {"message": "another"}, WAITS]}, False, Urgency.NOW),
    ],
)
def test_what_matters_is_written_at_once(patch: dict[str, Any], effects: bool, urgency: Urgency) -> None:
    assert urgency_of(patch, {"roles": ROLES, "conditions": [QUEUED, WAITS]}, effects=effects) is urgency


def test_progress_is_written_every_thirty_seconds_and_counts_every_five() -> None:
    clock = Clock(1000.0)
    pace = Pace(clock=clock)
    assert pace.wait("a", Urgency.PROGRESS) == 0
    pace.wrote("a")
    assert pace.wait("a", Urgency.PROGRESS) == 30
    assert pace.wait("a", Urgency.COUNTS) == 5
    assert pace.wait("a", Urgency.SOON) == 1
    assert pace.wait("a", Urgency.NOW) == 0
    clock.now += 5
    assert pace.wait("a", Urgency.PROGRESS) == 25
    assert pace.wait("a", Urgency.COUNTS) == 0
    assert pace.wait("b", Urgency.PROGRESS) == 0


def test_slow_writes_are_twenty_a_second_in_all() -> None:
    clock = Clock(1000.0)
    pace = Pace(clock=clock)
    written = 0
    for tick in range(100):
        clock.now = 1000.0 + tick / 10
        for job in range(50):
            written += pace.wait(f"{tick}-{job}", Urgency.PROGRESS) == 0
    assert 190 <= written <= 221  # ten seconds, and a burst of one second's worth before


def test_the_pace_remembers_only_what_still_matters() -> None:
    clock = Clock(1000.0)
    pace = Pace(clock=clock)
    for job in range(100):
        clock.now += 1
        pace.wrote(str(job))
    assert len(pace._last) <= 31
