"""What a browser asks and gets: one page, and JSON for it. Only who knows the secret path gets anything."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ftjob.cli.ui.kept import Answer, Shelf
from ftjob.cli.ui.views import to_json
from ftjob.insight.serve import LocalHandler, LocalServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    from ftjob.cli.ui.page import Page
    from ftjob.cli.ui.source import Source

JSON = "application/json"
HTML = "text/html; charset=utf-8"
_REPORT_POLICY = "sandbox allow-scripts; frame-ancestors 'none'"
"""A report has an origin of its own: whatever stands in it asks nothing of this server."""
_RANK_DIGITS = 7


class UiServer(LocalServer):
    """Shows the jobs of a source to one person."""

    def __init__(self, source: Source, page: Page, port: int = 0) -> None:
        self.source, self.page, self.shelf = source, page, Shelf()
        self.reporting = threading.Lock()
        super().__init__(_Handler, port)

    @property
    def url(self) -> str:
        """What to open; it works for as long as the server runs."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"


class _Handler(LocalHandler):
    server: UiServer

    def answer(self, asked: SplitResult) -> None:
        token, _, what = asked.path.removeprefix("/").partition("/")
        if not self.server.is_token(token):
            self.refuse(403)
            return
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        key, server = query.get("id", ""), self.server
        rank = query.get("rank", "0")
        if what == "":
            page = server.page
            self.send(page.html, HTML, {"Content-Security-Policy": page.policy})
        elif what == "jobs":
            self._kept((what,), server.source.listing)
        elif what == "job":
            self._kept((what, key), lambda: server.source.detail(key))
        elif what == "log" and rank.isascii() and rank.isdecimal() and len(rank) <= _RANK_DIGITS:
            self._kept((what, key, rank), lambda: server.source.log(key, int(rank)))
        elif what == "speed":
            self._kept((what, key), lambda: server.source.speed(key))
        elif what == "report":
            self._report(key, query.get("capture", ""))
        else:
            self.refuse(404)

    def _kept(self, question: tuple[str, ...], ask: Callable[[], object]) -> None:
        answer = self.server.shelf.get(question, ask)
        self.send(_envelope(answer), JSON)

    def _report(self, key: str, capture: str) -> None:
        with self.server.reporting:  # each takes half a gigabyte
            try:
                data, kind = self.server.source.report(key, capture).encode(), HTML
            except Exception as error:  # noqa: BLE001  told to whoever has asked
                data, kind = f"{error}\n".encode(), "text/plain; charset=utf-8"
        self.send(data, kind, {"Content-Security-Policy": _REPORT_POLICY})


def _envelope(answer: Answer[object]) -> bytes:
    """Return an answer as JSON, with what has kept a newer one away."""
    value = answer.value if isinstance(answer.value, bytes) else to_json(answer.value)
    return b'{"error":%s,"time":%s,"value":%s}' % (to_json(answer.error), to_json(answer.time), value)
