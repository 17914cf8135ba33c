"""``ftjob ui``: jobs on a page of this machine, until Ctrl-C."""

from __future__ import annotations

import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ftjob.cli.exit_codes import SUCCEEDED
from ftjob.cli.jobs.common import client, exit_code, kubectl_options
from ftjob.cli.speed.find_job import DEFAULT_OUTPUTS, NoJobError, is_of_cluster
from ftjob.cli.ui.folders import Folders
from ftjob.cli.ui.in_cluster import InCluster
from ftjob.cli.ui.page import page
from ftjob.cli.ui.server import UiServer
from ftjob.client import ClusterError, JobInvalid

if TYPE_CHECKING:
    import argparse

    from ftjob.cli.ui.source import Source


def main(args: argparse.Namespace) -> int:
    """Show the page."""
    return exit_code(lambda: _ui(args))


def _ui(args: argparse.Namespace) -> int:
    source = chosen(args)
    try:
        server = UiServer(source, page(source.title), args.port)
    except OSError as error:
        raise JobInvalid(f"--port {args.port}: {error.strerror}; name another, or leave it out") from None
    with server, suppress(KeyboardInterrupt):
        print(f"{server.url}\nCtrl-C ends it", flush=True)
        if args.open:
            threading.Thread(target=webbrowser.open, args=[server.url], daemon=True).start()
        server.serve_forever()
    return SUCCEEDED


def chosen(args: argparse.Namespace) -> Source:
    """Return where the jobs come from.

    Raises
    ------
    NoJobError
        There is no such folder, or a cluster is named, too.
    ClusterError
        There is no such kubeconfig or context.
    """
    if not args.folders:
        try:
            return InCluster(client(args), kubectl_options(args))
        except ClusterError as error:
            raise type(error)(f"{error}; for runs on this machine: ftjob ui ./{DEFAULT_OUTPUTS}") from None
    if is_of_cluster(args):
        raise NoJobError("a page shows folders or a cluster: leave out DIR, or the options of the cluster")
    folders = [Path(name) for name in args.folders]
    for folder in folders:
        if not folder.is_dir():
            raise NoJobError(f"{folder}: there is no such folder; give outputs, such as ./{DEFAULT_OUTPUTS}")
    return Folders(folders)
