"""Reports as a browser shows them: what every page must be."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

WIDTHS = (360, 768, 1440)
SCHEMES = ("light", "dark")

CUT_OFF = """
() => [...document.querySelectorAll("body *")]
  .filter((element) => !element.closest("svg, canvas, script, style, .skip, .uplot"))
  .filter((element) => element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0
    || element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => `${element.tagName}.${element.className} ${element.textContent.trim().slice(0, 60)}`)
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program, "run: tests/setup/chromium.sh"
    with sync_playwright() as playwright:
        # Root may not use Chromium's sandbox; the pages are ours.
        found = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


def opened(
    browser: Browser, path: Path, width: int, scheme: Any, *, script: bool = True
) -> tuple[Page, list[str]]:
    """Open a page; return it with what it complains of and asks for from then on."""
    context = browser.new_context(
        viewport={"width": width, "height": 740}, color_scheme=scheme, java_script_enabled=script
    )
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: complaints.append(f"request: {request.url}"))
    page.goto(path.as_uri())
    assert complaints.pop(0) == f"request: {path.as_uri()}"
    return page, complaints


def assert_sound(browser: Browser, path: Path) -> None:
    """At each width, light and dark, a page shows its verdict at once, cuts nothing and asks for nothing."""
    for width in WIDTHS:
        for scheme in SCHEMES:
            page, complaints = opened(browser, path, width, scheme)
            assert page.evaluate("document.documentElement.dataset.ready") == "yes"
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            box = page.locator("#verdict .text").bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 740
            assert page.evaluate(CUT_OFF) == []
            assert complaints == []
            page.context.close()


def numbers(browser: Browser, path: Path, *, least: int = 11) -> Any:
    """Return the summary in a page, once every number that the page shows has been found in it."""
    page, _ = opened(browser, path, 768, "light")
    data = json.loads(page.locator("#data").text_content() or "")
    shown = page.evaluate(
        "() => [...document.querySelectorAll('[data-ref]')]"
        ".map((shown) => [shown.dataset.ref, shown.dataset.scale, shown.textContent])"
    )
    assert len(shown) >= least
    for reference, scale, text in shown:
        value = _value_at(data, reference)
        if isinstance(value, str):
            assert text == value
        else:
            places = len(text.partition(".")[2])
            assert text == f"{value * float(scale or 1):.{places}f}", reference
    page.context.close()
    return data


def _value_at(data: Any, reference: str) -> Any:
    for part in reference.split("/"):
        data = data[int(part)] if isinstance(data, list) else data[part]
    return data
