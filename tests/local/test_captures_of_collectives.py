"""Profiles of workers that reduce by TensorFlow's own collectives: a capture may cost a rank nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from support.local_run import run
from support.xplanes import space_of

if TYPE_CHECKING:
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XPlane, XSpace

SAMPLE = Path(__file__).parents[2] / "manifests" / "samples" / "multiworker-digits.yaml"

CAPTURES = 40  # enough that one of them nearly always breaks a rank that collects all host events


def captured_often() -> dict[str, Any]:
    """The sample, longer, with a capture at every turn."""
    job: dict[str, Any] = yaml.safe_load(SAMPLE.read_text())
    job["spec"]["template"]["spec"]["containers"][0]["command"] += ["--steps", "320"]
    job["spec"]["profiling"]["schedule"] = {"wait": 1, "warmup": 1, "active": 3, "repeat": CAPTURES}
    return job


def test_every_worker_survives_its_captures_and_has_its_steps_in_them(tmp_path: Path) -> None:
    ran = run(captured_often(), tmp_path)
    assert ran.code == 0, ran.stdout[-4000:] + ran.stderr
    captures = sorted((ran.outputs / "captures").glob("s*"))
    assert len(captures) == CAPTURES
    for capture in captures:
        for worker in ("rank-00000", "rank-00001"):
            raw = capture / "raw" / worker
            done = json.loads((raw / "done.json").read_text())
            space = space_of(raw / f"{worker}.xplane.pb")
            (plane,) = (plane for plane in space.planes if plane.name == "/host:CPU")
            assert steps_of(plane, seconds_of(space)) == list(range(done["firstStep"], done["lastStep"] + 1))
            # The first worker answers the others and collects everything.
            everything = any(event.name.startswith("Collective") for event in plane.event_metadata.values())
            assert everything == (worker == "rank-00000")


def seconds_of(space: XSpace) -> float:
    """Return how long a session was."""
    (plane,) = (plane for plane in space.planes if plane.name == "Task Environment")
    times = {plane.stat_metadata[stat.metadata_id].name: stat.uint64_value for stat in plane.stats}
    return float(times["profile_stop_time"] - times["profile_start_time"]) / 1e9


def steps_of(plane: XPlane, seconds: float) -> list[int]:
    """Return the numbers by which xprof knows the steps of a plane, in order; all of them in its time."""
    begun = []
    for line in plane.lines:
        for event in line.events:
            if plane.event_metadata[event.metadata_id].name == "train":
                stats = {plane.stat_metadata[stat.metadata_id].name: stat.int64_value for stat in event.stats}
                assert stats["_r"] == 1
                begin = line.timestamp_ns / 1e9 + event.offset_ps / 1e12
                assert 0 <= begin < begin + event.duration_ps / 1e12 < seconds
                begun.append((begin, stats["step_num"]))
    return [number for _, number in sorted(begun)]
