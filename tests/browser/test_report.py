"""The report in a real browser: at three widths, light and dark, with hostile names and without a network."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.pages import assert_sound, chromium, numbers, opened
from support.traces import Planned, write_capture, write_job, write_vitals

from ftjob.insight.outputs import report_capture, report_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

HOSTILE = "</script><img src=x onerror=alert(1)>{{7*7}}&amp;\"'"
PLANNED = Planned(operators=30)
# FTJOB_SCREENSHOTS=docs/images writes the picture of the README anew.
SCREENSHOTS = os.environ.get("FTJOB_SCREENSHOTS")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A capture and a job whose names try to be something else, and a job as it should be."""
    hostile = tmp_path_factory.mktemp("hostile")
    write_capture(hostile, PLANNED, name=HOSTILE)
    report_capture(hostile, "c7")
    write_vitals(hostile, PLANNED, 80, growth=1 << 22, limit=3 << 30)
    file = hostile / "vitals" / "rank-00002.jsonl"
    file.write_text(file.read_text().replace("train.py:57 load", json.dumps(HOSTILE)[1:-1]))
    report_job(hostile)
    plain = tmp_path_factory.mktemp("plain")
    write_job(
        plain,
        timeline={"queued": 40, "starting": 65, "stepping": 2280, "input": 60, "blocked": 700, "lost": 130},
    )
    write_vitals(plain, replace(PLANNED, ranks=8), 60, growth=1 << 23)
    report_job(plain)
    capture = hostile / "captures" / "c7"
    return {
        "capture": capture / "report.html",
        "job": hostile / "report.html",
        "plain": plain / "report.html",
    }


@pytest.mark.parametrize("name", ["capture", "job"])
def test_the_page_shows_its_verdict_and_cuts_and_asks_for_nothing(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    assert_sound(browser, pages[name])


@pytest.mark.parametrize("name", ["capture", "job"])
def test_every_number_is_that_of_the_summary(browser: Browser, pages: dict[str, Path], name: str) -> None:
    data = numbers(browser, pages[name])
    if name == "capture":
        assert data == json.loads((pages[name].parent / "summary.json").read_text())


def test_hostile_names_stay_text(browser: Browser, pages: dict[str, Path]) -> None:
    for name in ("capture", "job"):
        page, complaints = opened(browser, pages[name], 1440, "light")
        assert HOSTILE in (page.locator("h1").text_content() or "")
        assert page.locator("img").count() == 0
        assert complaints == []
        page.context.close()
    page, _ = opened(browser, pages["job"], 1440, "light")
    assert page.locator("td", has_text=HOSTILE).count() > 0
    page.context.close()


def test_the_map_is_read_by_mouse_and_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    page, complaints = opened(browser, pages["capture"], 1440, "dark")
    data = json.loads(page.locator("#data").text_content() or "")
    says = page.locator("#heat-says")
    box = page.locator("#heat").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.6)
    assert says.text_content() == f"rank 2, step 414: {data['heat']['ownMs'][2][2]:.1f} ms of its own"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    assert says.text_content() == f"rank 1, step 415: {data['heat']['ownMs'][1][3]:.1f} ms of its own"
    assert complaints == []
    page.context.close()


def test_without_scripts_the_page_can_be_read_down_to_the_operators(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page, _ = opened(browser, pages["capture"], 360, "light", script=False)
    for text in ("straggler: rank 2", "Where a step's time goes", "aten::addmm"):
        assert page.get_by_text(text).first.is_visible(), text
    assert page.locator(".bars svg").count() >= 4
    page.context.close()


def test_the_curve_of_memory_goes_on_to_its_limit(browser: Browser, pages: dict[str, Path]) -> None:
    page, complaints = opened(browser, pages["job"], 360, "dark")
    plot = page.locator(".plot", has=page.get_by_text("memory of the largest rank"))
    assert plot.locator(".u-series .u-label").all_inner_texts()[-2:] == ["limit", "if it goes on growing"]
    assert page.get_by_text("a rank may use 3 GiB, reached").is_visible()
    assert page.get_by_text("c7, steps 412 to 416").is_visible()
    assert complaints == []
    page.context.close()


def test_the_picture_of_the_readme(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    page, _ = opened(browser, pages["plain"], 1100, "light")
    file = (Path(SCREENSHOTS) if SCREENSHOTS else tmp_path) / "report.png"
    page.screenshot(path=file, clip={"x": 0, "y": 0, "width": 1100, "height": 900})
    assert 10_000 < file.stat().st_size < 300_000
    page.context.close()
