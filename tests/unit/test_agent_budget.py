"""The budget of captures: which ones go, which never do, and what is not touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import CONFIG, job

from ftjob.plan.build.agent_config import agent_command
from ftjob.plan.layout import cluster_layout
from ftjob_agent.watching.budget import Kept, Outcome, keep, to_remove
from ftjob_protocol.agent_config import AgentConfig, parse

if TYPE_CHECKING:
    from pathlib import Path


def kept(*sizes: int) -> list[Kept]:
    return [Kept(f"c{number}", size, number) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "busy", "gone"),
    [
        ((10, 10, 10), (), []),
        ((40, 40, 40), (), ["c0"]),
        ((10, 10, 10, 10, 10), (), ["c0"]),
        ((500, 500, 500), (), ["c0", "c1"]),  # the newest complete one stays, whatever it takes
        ((500,), (), []),
        ((10, 500, 10), ("c1",), ["c0"]),  # one that is being written stays
        ((10, 500, 10), ("c1", "c2"), []),  # then the newest complete one is c0
        ((10, 10, 10, 10, 10), ("c0", "c1"), ["c2"]),
    ],
)
def test_the_oldest_complete_captures_go_first(
    sizes: tuple[int, ...], busy: tuple[str, ...], gone: list[str]
) -> None:
    assert to_remove(kept(*sizes), busy, most=100, count=4) == gone


def test_what_a_job_captures_by_itself_pushes_out_none_that_was_asked_for() -> None:
    automatic = [Kept("auto-0-0", 10, 0), Kept("auto-0-1", 10, 2)]
    asked = kept(10, 10, 10)
    assert to_remove([*asked, *automatic], (), most=100, count=3) == []
    assert to_remove([*asked, *automatic], (), most=100, count=2) == ["c0"]
    assert to_remove([*asked, *automatic], (), most=40, count=3) == ["auto-0-0"]


def config(outputs: Path, **budget: Any) -> AgentConfig:
    wanted = job().outputs(size="1Gi").with_spec(profiling={"budget": budget} if budget else {}).build()
    layout = cluster_layout(wanted, 0)
    told = agent_command(wanted, layout, layout.leader, CONFIG, outputs=str(outputs))
    return parse(told.config_json)


def fill(outputs: Path, name: str, size: int, when: int) -> None:
    folder = outputs / "captures" / name / "raw" / "rank-00000"
    folder.mkdir(parents=True)
    (folder / "a.xplane.pb").write_bytes(bytes(size))
    request = outputs / "captures" / name / "request.json"
    request.write_text("{}")
    os.utime(request, (when, when))
    plugins = outputs / "plugins" / "profile" / name
    plugins.mkdir(parents=True)
    (plugins / "a.xplane.pb").hardlink_to(folder / "a.xplane.pb")


def test_what_is_too_much_is_removed_with_its_second_names(tmp_path: Path) -> None:
    for number, name in enumerate(["s0", "c1", "c2"]):
        fill(tmp_path, name, 1000, number)
    (tmp_path / "captures" / "hang-0").mkdir()
    assert keep(config(tmp_path, maxBytes="2k", keepLast=9), []) == Outcome(("s0", "c1"))
    assert sorted(path.name for path in (tmp_path / "captures").iterdir()) == ["c2", "hang-0"]
    assert [path.name for path in (tmp_path / "plugins" / "profile").iterdir()] == ["c2"]


def test_a_budget_that_one_capture_uses_up_stops_captures_with_a_remedy(tmp_path: Path) -> None:
    fill(tmp_path, "c1", 5000, 1)
    outcome = keep(config(tmp_path, maxBytes=1000), [])
    assert outcome.removed == ()
    assert "profiling.budget.maxBytes" in outcome.problem
    assert "raise it" in outcome.problem


def test_links_are_neither_followed_nor_counted(tmp_path: Path) -> None:
    thesis = tmp_path / "home" / "thesis"
    thesis.parent.mkdir()
    thesis.write_bytes(bytes(10_000))
    outputs = tmp_path / "outputs"
    fill(outputs, "c1", 10, 1)
    fill(outputs, "c2", 10, 2)
    (outputs / "captures" / "c1" / "raw" / "elsewhere").symlink_to(thesis.parent)
    (outputs / "captures" / "c0").symlink_to(thesis.parent)
    assert keep(config(outputs, maxBytes=5000, keepLast=1), []) == Outcome(("c1",))
    assert thesis.exists()


def test_without_a_budget_there_is_one_and_a_schedule_keeps_all_that_it_asks_for(tmp_path: Path) -> None:
    assert keep(config(tmp_path), []) == Outcome()
    told = config(tmp_path).profiling
    assert told is not None
    assert (told.max_bytes, told.keep_last) == (2 << 30, 5)
    profiling = {"mode": "Scheduled", "schedule": {"repeat": 40}}
    wanted = job().outputs(size="1Gi").with_spec(profiling=profiling).build()
    layout = cluster_layout(wanted, 0)
    scheduled = parse(agent_command(wanted, layout, layout.leader, CONFIG).config_json).profiling
    assert scheduled is not None
    assert scheduled.keep_last == 40
