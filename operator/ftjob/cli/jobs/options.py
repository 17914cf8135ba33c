"""The options that all verbs for jobs in a cluster share. Nothing is imported: ``--help`` must be quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  # it has no other name


def verb(commands: Commands, name: str, text: str) -> argparse.ArgumentParser:
    """Add a verb with the options that say which cluster and namespace are meant."""
    added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    connection(added)
    return added


def connection(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which cluster and namespace are meant."""
    parser.add_argument(
        "-n", "--namespace", metavar="NAME", help="(default: that of the kubeconfig's context)"
    )
    parser.add_argument(
        "--context", metavar="NAME", help="the kubeconfig's context (default: the current one)"
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="(default: $KUBECONFIG, or ~/.kube/config)")


def job(parser: argparse.ArgumentParser) -> None:
    """Add the job that is meant."""
    parser.add_argument("job", metavar="JOB", nargs="?", help="its name (default: your newest job)")


def job_or_folder(parser: argparse.ArgumentParser) -> None:
    """Add the job that is meant, which may be one that has run on this machine."""
    parser.add_argument(
        "job",
        metavar="JOB|DIR",
        nargs="?",
        help="a job in the cluster (default: your newest), or the outputs folder of `ftjob run`",
    )
