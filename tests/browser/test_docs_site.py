"""The documentation in a real browser: nothing is wider than the window, and nothing comes from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from support.pages import WIDTHS, chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
WIDER = "document.documentElement.scrollWidth - innerWidth"
PATIENCE_MS = 120_000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the site: search needs a server."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(site)]
    subprocess.run(command, cwd=ROOT, check=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_pages_fit_are_found_and_ask_no_other_machine(address: str) -> None:
    elsewhere: list[str] = []
    errors: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda asked: elsewhere.append(asked.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 740})
            for name in ("index.html", "start.html", "frameworks/torch.html", "api.html"):
                page.goto(address + name)
                assert page.evaluate(WIDER) <= 0, f"{name} at {width}"
        page.fill(".md-search__input", "straggler")
        page.get_by_text("matching document").first.wait_for()
    assert errors == []
    assert [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))] == []
