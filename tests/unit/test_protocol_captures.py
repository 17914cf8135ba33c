"""Captures on demand: what operator, leader, agents and hooks say to each other about them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ftjob_protocol.captures import Wanted
from ftjob_protocol.captures.order import Asked, CaptureOrder, CapturePhase, is_id, may_ask_for, read_asked
from ftjob_protocol.captures.window import (
    OrderWord,
    RankCapture,
    RankPhase,
    Told,
    Window,
    make_word,
    tell,
)
from ftjob_protocol.files import nofollow

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = [
    CaptureOrder("c7"),
    CaptureOrder("c7", steps=3, ranks=(range(1), range(3, 6)), stacks=True),
    CaptureOrder("a-b", seconds=0.5),
]
WINDOW = Window("c7", (range(2), range(4, 5)), at_step=412, steps=5, stacks=True)
WANTED = Wanted({}, ("Framework", "Stacks"), {"shapes": True})


def wire(document: Any) -> Any:
    """What the other side reads."""
    return json.loads(json.dumps(document))


@pytest.mark.parametrize("order", ORDERS)
def test_the_leader_reads_what_is_ordered(order: CaptureOrder) -> None:
    assert CaptureOrder.read(wire(order.as_json())) == order
    assert CaptureOrder.of_text(json.dumps(order.as_json())) == order


@pytest.mark.parametrize("text", ["0,1,4", "4,0-1", " 0, 1, 4", "0-1,1,4"])
def test_ranks_are_read_as_people_write_them(text: str) -> None:
    assert CaptureOrder.read({"id": "c", "ranks": text}).ranks == (range(2), range(4, 5))


def test_an_annotation_may_be_an_id_alone() -> None:
    assert CaptureOrder.of_text(" before-lunch ") == CaptureOrder("before-lunch")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "capture is not an object"),
        ({}, "capture.id"),
        ({"id": "../etc"}, "capture.id"),
        ({"id": "s0"}, "capture.id"),
        ({"id": "hang-0"}, "capture.id"),
        ({"id": "auto-0-1"}, "capture.id"),
        ({"id": "x" * 64}, "capture.id"),
        ({"id": "c", "steps": 0}, "capture.steps"),
        ({"id": "c", "steps": 1001}, "capture.steps"),
        ({"id": "c", "steps": True}, "capture.steps"),
        ({"id": "c", "steps": 5, "seconds": 2}, "capture.steps"),
        ({"id": "c", "seconds": -1}, "capture.seconds"),
        ({"id": "c", "seconds": "2"}, "capture.seconds"),
        ({"id": "c", "seconds": 1e9}, "capture.seconds"),
        ({"id": "c", "ranks": "3-0"}, "capture.ranks"),
        ({"id": "c", "ranks": "0;3"}, "capture.ranks"),
        ({"id": "c", "ranks": [0, 3]}, "capture.ranks"),
        ({"id": "c", "ranks": "0," * 2000}, "capture.ranks"),
        ({"id": "c", "stacks": "yes"}, "capture.stacks"),
        ({"id": "c", "step": 5}, "capture.step is none"),
    ],
)
def test_what_is_no_order_is_refused_by_name(body: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        CaptureOrder.read(body)


@pytest.mark.parametrize("text", ["", "{", "{}", "[" * 5000, "Not An Id", '{"id": ' + "[" * 9000])
def test_an_annotation_that_is_neither_id_nor_order_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="capture"):
        CaptureOrder.of_text(text)


def test_ids_that_ftjob_gives_itself_are_ids_but_cannot_be_asked_for() -> None:
    assert [is_id(name) for name in ("auto-0-1", "s0", "hang-3", "c7")] == [True] * 4
    assert [may_ask_for(name) for name in ("auto-0-1", "s0", "hang-3", "c7")] == [False, False, False, True]


def test_agents_read_the_leaders_window() -> None:
    assert Window.read(wire(WINDOW.as_json())) == WINDOW
    by_time = Window("c8", (range(9),), at_ns=1_700_000_000_000_000_000, seconds=2.0)
    assert Window.read(wire(by_time.as_json())) == by_time
    assert [WINDOW.holds(rank) for rank in (0, 1, 2, 4)] == [True, True, False, True]
    for wrong in ({"id": "/"}, {"id": "c", "seconds": None}, {"id": "c", "seconds": 0, "atStep": -1}):
        with pytest.raises(ValueError, match="window"):
            Window.read(wrong)


def test_a_rank_sees_an_order_once_and_what_it_says(tmp_path: Path) -> None:
    with nofollow.Folder(str(tmp_path)) as folder:
        make_word(folder)
    word = OrderWord(str(tmp_path))
    assert not word.has_news()
    tell(str(tmp_path), WINDOW, WANTED, "/out")
    assert (word.has_news(), word.has_news()) == (True, False)
    assert Told.read(str(tmp_path)) == Told(WINDOW, "/out/captures", "/out/plugins/profile", WANTED)
    tell(str(tmp_path), None, WANTED, "/out")
    assert word.has_news()
    assert Told.read(str(tmp_path)).window is None


def test_without_an_order_word_nobody_waits_for_orders(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        OrderWord(str(tmp_path))
    (tmp_path / "order.bin").write_bytes(b"FTJORDR9" + bytes(8))
    with pytest.raises(ValueError, match="another release"):
        OrderWord(str(tmp_path))


@pytest.mark.parametrize(
    "data", [None, [], {}, {"id": "c"}, {"id": "c", "phase": "Sleeping"}, {"id": "/", "phase": "Done"}]
)
def test_what_a_rank_says_is_read_or_dropped(data: Any) -> None:
    said = RankCapture("c7", RankPhase.DONE, 412, "begun 2 steps late", is_whole=False)
    assert RankCapture.read(wire(said.as_json())) == said
    assert RankCapture.read(data) is None


def test_the_operator_reads_what_the_leader_says_of_captures() -> None:
    said = (
        Asked("c7", CapturePhase.PARTIAL, 3, 4, "rank 2: no step"),
        Asked("c6", CapturePhase.READY, 4, 4, is_removed=True),
    )
    assert read_asked(wire([asked.as_json() for asked in said])) == said
    assert read_asked(None) == ()


@pytest.mark.parametrize(
    "data",
    [{}, [5], [{"id": "c"}], [{"id": "/", "phase": "Ready"}], [{"id": "c", "phase": "Ready", "done": -1}]],
)
def test_what_no_leader_says_of_captures_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="asked"):
        read_asked(data)


def test_a_capture_is_told_of_once() -> None:
    twice = [Asked("c", CapturePhase.READY).as_json(), Asked("c", CapturePhase.FAILED).as_json()]
    with pytest.raises(ValueError, match="twice"):
        read_asked(twice)
