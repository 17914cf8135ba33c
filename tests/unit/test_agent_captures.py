"""The leader's captures: which steps all ranks take, how far they are, and what is refused."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import CONFIG, job

from ftjob.plan.build.agent_config import agent_command
from ftjob.plan.layout import cluster_layout
from ftjob_agent.star.book import Book
from ftjob_agent.star.captures.automatic import BLIND, COOLDOWN_SECONDS, STEPLESS, Automatic
from ftjob_agent.star.captures.captures import PATIENCE_SECONDS, Captures
from ftjob_agent.star.captures.state import state_of
from ftjob_agent.watching.capturing import Capturing
from ftjob_protocol.agent_config import parse
from ftjob_protocol.captures.order import Asked, CaptureOrder, CapturePhase
from ftjob_protocol.captures.window import OrderWord, RankCapture, RankPhase, Told, Window, make_word
from ftjob_protocol.files.nofollow import Folder
from ftjob_protocol.leader_state import LeaderState
from ftjob_protocol.values.ranges import to_ranges
from ftjob_protocol.vitals.verdict import Finding, Verdict

if TYPE_CHECKING:
    from pathlib import Path


class Star:
    """A leader of four ranks in two agents, without sockets or a clock."""

    def __init__(self, **profiling: Any) -> None:
        outputs = profiling.pop("outputs", {"claimName": "claim"})
        wanted = job().strategy("Torchrun").workers(2).processes(2)
        built = wanted.with_spec(profiling=profiling, outputs=outputs).build()
        layout = cluster_layout(built, 0)
        config = parse(agent_command(built, layout, layout.leader, CONFIG).config_json)
        self.book = Book(config, 0.0)
        self.news: list[bool] = []
        self.captures = Captures(config, self.book, self.news.append)
        self.automatic = Automatic(self.book, self.captures)
        self.sequence = self.attempt = 0
        self.states = dict.fromkeys(range(4), "Running")

    def tell(
        self,
        *steps: int,
        now: float = 1.0,
        pace: float | None = 0.1,
        said: dict[int, RankCapture] | None = None,
        steady: dict[int, float] | None = None,
    ) -> None:
        """Both agents say how far their ranks are."""
        self.sequence += 1
        for index in range(2):
            ranks = range(2 * index, 2 * index + 2)
            words = {str(rank): word.as_json() for rank, word in (said or {}).items() if rank in ranks}
            message = {
                "attempt": self.attempt,
                "life": str(index),
                "sequence": self.sequence,
                "state": "Running",
                "ranks": [
                    {"rank": r, "state": self.states[r], "step": steps[r]}
                    | ({"steadySeconds": steady[r]} if steady else {})
                    for r in ranks
                ],
                "profiled": list(ranks),
                "progress": {"rank": ranks[0], "step": steps[ranks[0]], "stepSeconds": pace},
                "capture": words,
            }
            heard = json.loads(json.dumps(message))
            self.book.hear(("worker", index), heard, now)
            self.captures.hear(("worker", index), heard, now)
        self.captures.look(now)

    def halt(self, now: float, said: dict[int, RankCapture] | None = None) -> None:
        """All ranks are ended, so that they may be started again."""
        self.book.command, running = "Halt", self.states
        self.states = dict.fromkeys(running, "Stopped")
        self.tell(20, 20, 20, 20, now=now, said=said)
        self.book.command, self.states = "Start", running

    def say(self, phase: RankPhase, *ranks: int, now: float = 2.0, **more: Any) -> None:
        words = {rank: RankCapture("c1", phase, **more) for rank in ranks or range(4)}
        self.tell(20, 20, 20, 20, now=now, said=words)

    def look(self, now: float, verdict: Verdict | None = None, *, is_blind: bool = False) -> list[int] | None:
        """Let the leader look what it captures by itself, and return which ranks."""
        self.automatic.look(verdict, is_blind=is_blind, now=now)
        window = self.captures.window
        return None if window is None else [rank for part in window.ranks for rank in part]

    @property
    def last(self) -> Asked:
        state = LeaderState(0, "Running", None, asked=self.captures.asked())
        return LeaderState.read(json.loads(json.dumps(state.as_json()))).asked[-1]


@pytest.fixture
def star() -> Star:
    star = Star()
    star.tell(20, 20, 19, 20)
    return star


@pytest.mark.parametrize(
    ("pace", "age", "first"),
    [(0.1, 0.0, 70), (0.1, 1.0, 80), (5.0, 0.0, 23), (None, 0.0, 23)],
)
def test_all_ranks_begin_at_the_same_step_soon_but_not_too_soon(
    pace: float | None, age: float, first: int
) -> None:
    star = Star()
    star.tell(20, 20, 19, 20, now=1.0, pace=pace)
    star.captures.order(CaptureOrder("c1", steps=4), 1.0 + age)
    window = star.captures.window
    assert window is not None
    assert (window.at_step, window.steps, window.ranks, window.at_ns) == (first, 4, (range(4),), 0)
    assert star.news == [True]


@pytest.mark.parametrize(("times", "first"), [((1, 2, 3, 4), 70), ((1, 2, 7, 8), 135), ((1, 100, 101), 370)])
def test_where_messages_are_late_all_ranks_get_more_time_to_be_told(
    times: tuple[int, ...], first: int
) -> None:
    star = Star()
    for now in times:
        star.tell(20, 20, 20, 20, now=float(now))
    star.captures.order(CaptureOrder("c1"), float(times[-1]))
    assert star.captures.window is not None
    assert star.captures.window.at_step == first


def test_seconds_become_steps_where_steps_are_counted(star: Star) -> None:
    star.captures.order(CaptureOrder("c1", seconds=0.75), 1.0)
    assert star.captures.window is not None
    assert star.captures.window.steps == 8


@pytest.mark.parametrize("steps", [(0, 0, 0, 0), (20, 20, 0, 20), (500, 500, 20, 20)])
def test_ranks_without_steps_or_with_counts_of_their_own_begin_at_a_time(steps: tuple[int, ...]) -> None:
    star = Star()
    star.tell(*steps)
    star.captures.order(CaptureOrder("c1"), 1.0)
    star.captures.look(11.0)
    window = star.captures.window
    assert window is not None
    assert (window.at_step, window.at_ns > 0, window.seconds) == (0, True, 2.0)


def test_an_order_waits_for_the_steps_of_ranks_that_have_told_none_yet() -> None:
    star = Star()
    star.tell(20, 20, 0, 20)
    star.captures.order(CaptureOrder("c1"), 1.0)
    assert star.captures.window is None
    star.captures.order(CaptureOrder("c2"), 1.5)
    assert {each.id: each.phase for each in star.captures.asked()} == {"c1": "Requested", "c2": "Refused"}
    star.tell(30, 30, 30, 30, now=2.0)
    assert star.captures.window is not None
    assert star.captures.window.at_step == 80


def test_the_phases_of_a_capture(star: Star) -> None:
    star.captures.order(CaptureOrder("c1"), 1.0)
    seen = [star.last]
    for phase, ranks in [
        (RankPhase.ARMED, (0, 1)), (RankPhase.ARMED, (0, 1, 2, 3)), (RankPhase.CAPTURING, (0,)),
        (RankPhase.CAPTURING, (0, 1, 2, 3)), (RankPhase.SAVING, (0, 1, 2, 3)), (RankPhase.DONE, (0, 1)),
        (RankPhase.DONE, (2, 3)),
    ]:  # fmt: skip
        star.say(phase, *ranks, first_step=40)
        seen.append(star.last)
    assert [(asked.phase, asked.done) for asked in seen] == [
        ("Requested", 0), ("Requested", 2), ("Armed", 4), ("Capturing", 1), ("Capturing", 4),
        ("Collecting", 0), ("Collecting", 2), ("Ready", 4),
    ]  # fmt: skip
    assert star.captures.window is None
    assert star.last == Asked("c1", "Ready", 4, 4)


def test_an_id_is_captured_once_and_a_second_capture_waits_for_the_end_of_the_first(star: Star) -> None:
    star.captures.order(CaptureOrder("c1"), 1.0)
    window = star.captures.window
    star.captures.order(CaptureOrder("c1", steps=9), 2.0)
    star.captures.order(CaptureOrder("c2"), 2.0)
    assert star.captures.window is window
    asked = {found.id: found for found in star.captures.asked()}
    assert asked["c2"].phase == CapturePhase.REFUSED
    assert "capture c1 is under way" in asked["c2"].reason
    star.say(RankPhase.DONE, first_step=40)
    star.captures.order(CaptureOrder("c1"), 3.0)
    star.captures.order(CaptureOrder("c2"), 3.0)
    assert star.captures.window is None
    star.captures.order(CaptureOrder("c3"), 3.0)
    assert star.captures.window is not None


@pytest.mark.parametrize(
    ("star", "order", "reason"),
    [
        (Star(mode="Off"), CaptureOrder("c1"), "profiling.mode is Off"),
        (Star(outputs=None), CaptureOrder("c1"), "give the job spec.outputs"),
        (Star(), CaptureOrder("c1", ranks=(range(3, 5),)), "there are ranks 0 to 3 alone"),
        (Star(), CaptureOrder("c1", ranks=(range(10**8),)), "there are ranks 0 to 3 alone"),
    ],
)
def test_what_cannot_be_captured_is_refused_with_a_remedy(
    star: Star, order: CaptureOrder, reason: str
) -> None:
    star.tell(20, 20, 20, 20)
    star.captures.order(order, 1.0)
    assert star.last.phase == "Refused"
    assert reason in star.last.reason
    assert star.captures.window is None


def test_nothing_is_captured_before_the_ranks_run() -> None:
    star = Star()
    star.captures.order(CaptureOrder("c1"), 1.0)
    assert (star.last.phase, star.last.reason[:21]) == ("Refused", "the ranks do not run;")


def test_a_capture_without_some_ranks_is_partial_and_says_whose_words(star: Star) -> None:
    star.captures.order(CaptureOrder("c1"), 1.0)
    star.say(RankPhase.DONE, 0, 1, first_step=40)
    star.say(RankPhase.FAILED, 3, note="the script uses the profiler itself")
    star.states[2] = "Succeeded"
    star.tell(20, 20, 20, 20, now=3.0)
    assert star.last == Asked(
        "c1", "Partial", 2, 4, "rank 2: the rank has ended; rank 3: the script uses the profiler itself"
    )


def test_who_does_not_answer_is_not_waited_for_for_ever(star: Star) -> None:
    star.captures.order(CaptureOrder("c1"), 1.0)
    star.say(RankPhase.ARMED, 0, 1)
    star.captures.look(star.captures.next_look(2.0))
    assert star.last.phase == "Failed"
    assert "ranks 0-1: its first step did not come in time" in star.last.reason
    assert "ranks 2-3: it did not answer" in star.last.reason
    assert star.captures.window is None
    assert PATIENCE_SECONDS < 600


def test_the_end_of_the_attempt_ends_its_capture_with_what_its_ranks_have_left(star: Star) -> None:
    star.captures.order(CaptureOrder("c1"), 1.0)
    star.say(RankPhase.DONE, 0, first_step=40)
    star.book.command = "Halt"
    star.captures.look(3.0)
    assert star.last.phase == "Capturing", "ranks may have something to leave"
    cut = RankCapture("c1", RankPhase.DONE, 40, "the script has ended", is_whole=False)
    star.halt(4.0, {1: cut})
    reason = "ranks 2-3: the rank has ended; rank 1: the script has ended"
    assert star.last == Asked("c1", "Partial", 1, 4, reason)


def test_the_end_of_the_attempt_ends_a_capture_that_waits_for_its_first_step() -> None:
    star = Star()
    star.tell(20, 20, 0, 20)
    star.captures.order(CaptureOrder("c1"), 1.0)
    star.halt(2.0)
    assert star.last == Asked("c1", "Failed", 0, 4, "ranks 0-3: the attempt has ended")


def test_a_rank_that_has_failed_counts_among_none_that_go_on(star: Star) -> None:
    star.captures.order(CaptureOrder("c1"), 1.0)
    star.say(RankPhase.FAILED, 0, note="no room")
    seen = [star.last]
    for phase in (RankPhase.ARMED, RankPhase.CAPTURING, RankPhase.SAVING):
        star.say(phase, 1, 2, 3, first_step=40)
        seen.append(star.last)
    assert [(asked.phase, asked.done) for asked in seen] == [
        ("Requested", 0), ("Armed", 3), ("Capturing", 3), ("Collecting", 0),
    ]  # fmt: skip


def test_a_last_word_of_a_rank_stays(star: Star) -> None:
    star.captures.order(CaptureOrder("c1"), 1.0)
    star.say(RankPhase.FAILED, 0, note="no room")
    star.say(RankPhase.ARMED, now=3.0)
    star.say(RankPhase.DONE, first_step=40, now=4.0)
    assert star.last == Asked("c1", "Partial", 3, 4, "rank 0: no room")


def test_ranks_that_were_started_again_begin_at_a_step_of_their_own_count(star: Star) -> None:
    star.tell(900, 900, 900, 900)
    star.halt(2.0)
    star.attempt = star.book.attempt = 1
    star.captures.hear(("worker", 1), {"attempt": 0, "ranks": [{"rank": 2, "step": 900}]}, 3.0)
    star.captures.order(CaptureOrder("c1"), 3.0)
    window = star.captures.window
    assert window is not None
    assert (window.at_step, window.at_ns > 0) == (0, True)


@pytest.mark.parametrize(
    ("firsts", "phase", "reason"),
    [
        ((40, 40, 40, 40), "Ready", ""),
        ((42, 42, 42, 42), "Ready", "rank 0: late"),
        ((40, 40, 43, 40), "Partial", "rank 2: late"),
    ],
)
def test_ranks_that_begin_late_say_so_and_only_if_all_do_is_it_whole(
    firsts: tuple[int, ...], phase: str, reason: str
) -> None:
    said = {
        rank: RankCapture("c", RankPhase.DONE, first, "late" if first > 40 else "")
        for rank, first in enumerate(firsts)
    }
    state = state_of(range(4), said)
    assert (state.phase, state.reason) == (phase, reason)


def test_a_finding_is_captured_once_in_half_an_hour_and_three_times_in_an_attempt(star: Star) -> None:
    taken = []
    for minute in range(0, 200, 10):
        now = 60.0 * minute
        star.tell(20, 20, 20, 20, now=now)
        if star.automatic.ask("straggler: rank 2", [0, 2], now):
            taken.append(minute)
            assert star.captures.window is not None
            name = star.captures.window.id
            words = {rank: RankCapture(name, RankPhase.DONE, 40) for rank in (0, 2)}
            star.tell(20, 20, 20, 20, now=now + 1, said=words)
            assert star.last == Asked(name, "Ready", 2, 2, "by itself: straggler: rank 2")
    assert taken == [0, 30, 60]
    assert COOLDOWN_SECONDS == 1800


def finding(kind: str = "Straggler", confidence: str = "High", *ranks: int) -> Finding:
    return Finding(kind, f"{kind}: {ranks}", confidence, 0.2, to_ranges(ranks))


@pytest.mark.parametrize(
    ("found", "ranks"),
    [
        (finding("Straggler", "High", 2), [0, 2, 3]),
        (finding("Straggler", "High", 0), [0, 1, 3]),
        (finding("InputBound", "High"), [0, 3]),
        (finding("Straggler", "Medium", 2), None),
        (finding("Pauses", "High", 0), None),
        (finding("MemoryGrowth", "High", 0), None),
    ],
)
def test_a_sure_finding_is_captured_on_the_culprits_and_others(
    star: Star, found: Finding, ranks: list[int] | None
) -> None:
    star.automatic.explain(Verdict(found.text, found.kind, findings=(found,)), 1.0)
    window = star.captures.window
    assert (None if window is None else [r for part in window.ranks for r in part]) == ranks
    if window is not None:
        assert star.last.reason == f"by itself: {found.text}"


def test_a_finding_is_captured_once_and_anew_in_the_next_attempt(star: Star) -> None:
    verdict = Verdict("straggler", "Straggler", findings=(finding("Straggler", "High", 2),))
    taken = []
    for hour in range(6):
        now = 7200.0 * hour
        star.tell(20, 20, 20, 20, now=now)
        star.automatic.explain(verdict, now)
        if star.captures.window is not None:
            taken.append(hour)
            star.halt(now)
        if hour == 3:
            star.attempt = star.book.attempt = 1
    assert taken == [0, 4]


@pytest.mark.parametrize(
    ("confidence", "ranks", "reason"),
    [("Medium", [0, 2, 3], "Straggler: (2,)"), (None, [0, 3], BLIND)],
)
def test_steps_that_the_clock_cannot_see_inside_are_captured_once_of_those_who_are_suspected(
    star: Star, confidence: str | None, ranks: list[int], reason: str
) -> None:
    found = (finding("Straggler", confidence, 2),) if confidence else ()
    verdict = Verdict("said", "Straggler", findings=found)
    assert star.look(1.0, verdict) is None
    assert star.look(3.0, verdict, is_blind=True) == ranks
    assert star.last.reason == f"by itself: {reason}"
    star.halt(5.0)
    assert star.look(5 * COOLDOWN_SECONDS, verdict, is_blind=True) is None
    star.attempt = star.book.attempt = 1
    now = 9 * COOLDOWN_SECONDS
    star.tell(20, 20, 20, 20, now=now)
    assert star.look(now, verdict, is_blind=True) == ranks


def test_what_a_sure_finding_has_captured_is_not_captured_again_for_the_clock(star: Star) -> None:
    verdict = Verdict("slow", "Straggler", findings=(finding("Straggler", "High", 2),))
    star.automatic.explain(verdict, 1.0)
    words = {rank: RankCapture("auto-0-0", RankPhase.DONE, 40) for rank in (0, 2, 3)}
    star.tell(20, 20, 20, 20, now=2.0, said=words)
    assert star.last.phase == "Ready"
    assert star.look(2 * COOLDOWN_SECONDS, verdict, is_blind=True) is None


def test_what_the_schedule_has_captured_is_not_captured_again_for_the_clock(star: Star) -> None:
    star.book.members["worker", 1].captures = {"s0": [2]}
    assert star.look(4.0, is_blind=True) is None


def test_what_was_asked_for_is_not_captured_again_for_the_clock(star: Star) -> None:
    star.captures.order(CaptureOrder("c1"), 1.0)
    star.say(RankPhase.DONE, first_step=40, now=3.0)
    assert star.look(4.0, is_blind=True) is None


@pytest.mark.parametrize(
    ("steps", "steady", "ranks"),
    [
        ((0, 0, 0, 0), {0: 21.0, 1: 30.0, 2: 22.0, 3: 900.0}, [0, 3]),
        ((0, 0, 0, 0), {0: 21.0, 1: 30.0, 2: 19.0, 3: 900.0}, None),
        ((0, 0, 0, 0), None, None),
        ((20, 20, 20, 20), None, None),
    ],
)
def test_ranks_without_steps_are_captured_once_they_compile_no_more(
    steps: tuple[int, ...], steady: dict[int, float] | None, ranks: list[int] | None
) -> None:
    star = Star()
    star.tell(*steps, steady=steady)
    assert star.look(1.0) == ranks
    if ranks is not None:
        assert star.captures.window is not None
        assert (star.captures.window.at_step, star.captures.window.seconds) == (0, 2.0)
        assert star.last.reason == f"by itself: {STEPLESS}"


@pytest.mark.parametrize("profiling", [{"mode": "Off"}, {"outputs": None}])
def test_nothing_is_captured_by_itself_where_nothing_can_be(profiling: dict[str, Any]) -> None:
    star = Star(**profiling)
    star.tell(20, 20, 20, 20)
    assert not star.automatic.ask("slow", [0], 1.0)
    assert star.look(2.0, is_blind=True) is None
    assert star.captures.asked() == ()


@pytest.mark.parametrize("word", [5, [], {"x": 1}, {"0": None, "-1": {}, "9" * 99: {}}, {"0": {"id": "c1"}}])
def test_what_is_no_word_of_a_rank_changes_nothing(star: Star, word: Any) -> None:
    star.captures.order(CaptureOrder("c1"), 1.0)
    star.captures.hear(("worker", 1), {"attempt": 0, "ranks": [], "capture": word}, 2.0)
    assert star.last == Asked("c1", "Requested", 0, 4)


def test_requests_say_what_was_asked_for(star: Star) -> None:
    star.captures.order(CaptureOrder("c1", ranks=(range(2),), stacks=True), 1.0)
    written = SimpleNamespace(**star.captures.requests()["c1"])
    assert (written.id, written.mode, written.ranks, written.window["atStep"]) == (
        "c1",
        "OnDemand",
        [0, 1],
        70,
    )


def test_an_agent_tells_each_rank_once_and_those_too_that_start_after_the_word(tmp_path: Path) -> None:
    wanted = job().workers(1).processes(2).with_spec(outputs={"claimName": "claim"}).build()
    layout = cluster_layout(wanted, 0)
    config = parse(agent_command(wanted, layout, layout.leader, CONFIG).config_json)
    ranks: list[Any] = []
    capturing = Capturing(config, lambda: ranks)
    window = Window("c1", (range(2),), at_step=40, steps=3)
    capturing.follow(window)
    words = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Folder(str(folder)) as own:
            make_word(own)
        words.append(OrderWord(str(folder)))
        ranks.append(SimpleNamespace(spec=SimpleNamespace(rank=number), dir=str(folder)))
        capturing.follow(window)
        assert [word.has_news() for word in words] == [False] * number + [True]
        assert Told.read(str(folder)).window == window
    capturing.follow(None)
    assert [word.has_news() for word in words] == [True, True]
    assert Told.read(str(tmp_path / "0")).window is None
