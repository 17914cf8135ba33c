"""What may stand at the cursor: argcomplete knows verbs, options and choices, and asks here for values."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import argcomplete
from argcomplete.completers import BaseCompleter, DirectoriesCompleter, FilesCompleter

from ftjob.models.names import GROUP, PLURAL

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from typing import TextIO

SECONDS = 1.5
"""For how long a cluster is waited for, with all that kubectl starts to log in."""
FILES = {"FILE", "DIR", "EXE", "BEFORE", "AFTER"}
"""Options and arguments, by what help calls them, that take a file or a folder."""


class Values(BaseCompleter):
    """The values of options and arguments that are no choice of words, by what help calls them."""

    def __call__(
        self,
        *,
        prefix: str,
        action: argparse.Action,
        parser: argparse.ArgumentParser,
        parsed_args: argparse.Namespace,
    ) -> Iterable[str]:
        """Return them; nothing where none is known."""
        if action.metavar in FILES:
            return FilesCompleter()(prefix=prefix)
        if action.metavar == "JOB|DIR":
            return [*jobs(parsed_args), *DirectoriesCompleter()(prefix=prefix)]
        if action.metavar == "JOB":
            given = set(getattr(parsed_args, "jobs", None) or ())
            return [name for name in jobs(parsed_args) if name not in given]
        return ()


def jobs(args: argparse.Namespace) -> list[str]:
    """Return the names of jobs in the cluster that the options name; nothing if it can't be asked.

    By kubectl: it answers in a tenth of the time that it takes to import the Python client.
    """
    options = {name: getattr(args, name, None) for name in ("namespace", "context", "kubeconfig")}
    words = [f"--{name}={value}" for name, value in options.items() if value]
    command = ["kubectl", "get", f"{PLURAL}.{GROUP}", "--no-headers", f"--request-timeout={SECONDS}s", *words]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    except OSError:
        return []
    try:
        out, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its credential plugin, which may wait for a login
        return []
    return [line.split()[0] for line in out.splitlines() if line.strip()]


def answer(parser: argparse.ArgumentParser, stream: TextIO | None = None) -> None:
    """Write the candidates to a stream; without one to the shell that has asked, and end this process."""
    exit_method = os._exit if stream is None else _stay  # what argcomplete does by itself
    argcomplete.autocomplete(
        parser,
        always_complete_options=False,
        default_completer=Values(),
        exit_method=exit_method,
        output_stream=stream,
    )


def _stay(code: int) -> None:
    """Do not end the process."""
