"""`ftjob ui` in a real browser: at three widths, light and dark, by keyboard, with hostile names."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from support.pages import CUT_OFF, SCHEMES, WIDTHS, chromium
from support.traces import Planned, write_job, write_vitals

from ftjob.cli.ui.folders import Folders
from ftjob.cli.ui.page import page as ui_page
from ftjob.cli.ui.server import UiServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

HOSTILE = "</script><img src=x onerror=alert(1)>{{7*7}}&amp;\"'"
PATIENCE_MS = 120_000


def progress(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "totalSteps": 1000,
        "percent": step / 10,
        "stepSeconds": 0.09,
        "metrics": {"loss": 1 / step},
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs: one that runs, and one whose every text tries to be something else."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("plain", "hostile"):
        (folder / name / "logs").mkdir(parents=True)
    write_vitals(folder / "plain", replace(Planned(operators=4), ranks=3), 12)
    write_job(folder / "plain", "digits", phase="Running", progress=progress(300))
    (folder / "plain" / "logs" / "rank-00000.log").write_text("the first line\nloss 0.5\n")
    (folder / "plain" / "logs" / "rank-00001.log").write_text("hello from rank 1\n")
    failure = {
        "rank": 1,
        "exitCode": 1,
        "reason": "Exception",
        "message": f"{HOSTILE}\nValueError: {HOSTILE}",
    }
    found = {"kind": "Straggler", "text": HOSTILE, "next": HOSTILE}
    profile = {"verdict": HOSTILE, "findings": [found], "captures": [{"id": HOSTILE, "phase": "Failed"}]}
    write_job(folder / "hostile", HOSTILE, phase="Failed", failure=failure, profile=profile)
    (folder / "hostile" / "logs" / "rank-00000.log").write_text(f"{HOSTILE}\n\x1b[31mred\x1b[0m\n")
    return folder


@pytest.fixture(scope="module")
def url(runs: Path) -> Iterator[str]:
    with UiServer(Folders([runs]), ui_page(f"{runs} {HOSTILE}")) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def opened(browser: Browser, url: str, width: int, scheme: Any) -> tuple[Page, list[str]]:
    """Open the page; return it with what it complains of, and what it asks of others, from then on."""
    context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme)
    page, complaints = context.new_page(), []
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda asked: complaints.extend(_elsewhere(asked.url, url)))
    page.goto(url)
    page.locator("#rows a").nth(1).wait_for()
    return page, complaints


def _elsewhere(asked: str, url: str) -> list[str]:
    return [] if asked.startswith((url, "data:")) else [f"request: {asked}"]


def test_the_page_fits_and_asks_nobody_else(browser: Browser, url: str) -> None:
    page, complaints = opened(browser, url, 1440, "light")
    for name, line in (("", ""), (HOSTILE, "red"), ("digits", "loss 0.5")):
        if name:
            page.set_viewport_size({"width": 1440, "height": 740})
            page.evaluate("location.hash = ''")
            page.locator("#rows a", has_text=name).click()
            page.locator("#says", has_text=name).wait_for()
            page.locator("#log", has_text=line).wait_for()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 740})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page.evaluate(
                    "new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then)))"
                )
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
                assert page.evaluate(CUT_OFF) == [], (name, width)
    assert complaints == []
    page.context.close()


def test_hostile_texts_stay_text(browser: Browser, url: str) -> None:
    page, complaints = opened(browser, url, 768, "light")
    page.locator("#rows a", has_text=HOSTILE).click()
    page.locator("#log", has_text="red").wait_for()
    for place in ("#name", "#says", "#failure", "#verdict", "#findings", "#reports", "#log", "h1"):
        assert HOSTILE in (page.locator(place).text_content() or ""), place
    assert "\x1b" not in (page.locator("#log").text_content() or "")
    assert page.locator("img").count() == 0
    assert complaints == []
    page.context.close()


def test_all_is_done_by_keyboard(browser: Browser, url: str) -> None:
    page, complaints = opened(browser, url, 360, "dark")
    focused = "document.activeElement.textContent"
    names = page.locator("#rows a").all_text_contents()
    page.keyboard.press("j")
    assert page.evaluate(focused) == names[0]
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == names[1]
    page.keyboard.press("k")
    assert page.evaluate(focused) == names[0]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("/")
    page.keyboard.type("digits running")
    assert page.locator("#rows tr:visible").count() == 1
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.locator("#says", has_text="digits is Running").wait_for()
    assert not page.locator("#jobs").is_visible()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    assert page.locator("#name").is_visible()
    page.keyboard.press("Escape")
    page.locator("#jobs").wait_for()
    assert page.evaluate(focused) == "digits"
    assert complaints == []
    page.context.close()


def test_curves_go_on_and_the_map_is_that_of_the_report(
    browser: Browser, url: str, runs: Path, tmp_path: Path
) -> None:
    page, complaints = opened(browser, url, 1440, "light")
    page.locator("#rows a", has_text="digits").click()
    page.locator("#live-says", has_text="once two steps").wait_for()
    write_job(runs / "plain", "digits", phase="Running", progress=progress(310))
    page.locator("#live .plot[aria-label^='loss ']").wait_for()
    label = page.locator("#live .plot[aria-label^='loss ']").get_attribute("aria-label") or ""
    assert "last 0.00323" in label
    page.fill("#rank", "1")
    page.locator("#rank").press("Tab")
    page.locator("#log", has_text="hello from rank 1").wait_for()
    page.locator("#heat-part").wait_for()
    page.locator("#heat").press("ArrowRight")
    assert (page.locator("#heat-says").text_content() or "").startswith("rank 0")
    page.locator("#speed .plot[aria-label*='step ']").first.wait_for()
    assert complaints == []
    page.screenshot(path=tmp_path / "ui.png", full_page=True)
    page.context.close()


def test_an_end_of_the_server_is_told(browser: Browser, runs: Path) -> None:
    server = UiServer(Folders([runs]), ui_page("x"))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    page, _ = opened(browser, server.url, 768, "light")
    server.shutdown()
    server.server_close()
    page.locator("#trouble", has_text="it has ended").wait_for()
    assert json.loads(page.evaluate("JSON.stringify(document.querySelectorAll('#rows a').length)")) == 2
    page.context.close()
