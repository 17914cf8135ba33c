"""Logs: one JSON object a line, or text for people."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, job, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        job = getattr(record, "job", None)
        if job:
            line["job"] = job
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """Time, level, job and message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the job's name at its end."""
        job = getattr(record, "job", None)
        line = super().format(record)
        return f"{line} [{job['namespace']}/{job['name']}]" if job else line


def set_up_logs(*, level: str, style: str) -> None:
    """Write this process' logs to stderr.

    Parameters
    ----------
    style
        ``json`` or ``text``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if style == "text" else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They log each event of each object.
    for noisy in ("kopf", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    # What goes wrong with its watch, the tap in front of it says.
    logging.getLogger("kopf._cogs.clients.watching").setLevel(logging.CRITICAL)


def about(job: AnyJob) -> dict[str, dict[str, str]]:
    """Return the `extra` of a log record that concerns a job."""
    return {"job": {"namespace": job.namespace, "name": job.name, "uid": job.uid}}
