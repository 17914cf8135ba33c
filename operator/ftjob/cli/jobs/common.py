"""What the verbs for jobs in a cluster share: their options, their exit codes, and which job is meant."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ftjob.api.job import parse_job
from ftjob.api.validate import validate
from ftjob.cli.exit_codes import FAILED, INVALID, NO_CLUSTER, TIMED_OUT
from ftjob.cli.terminal import one_line, say
from ftjob.client import Client, ClusterError, JobFailed, JobInvalid

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ftjob.client import JobHandle


def client(args: argparse.Namespace) -> Client:
    """Return the client of the cluster that the options name."""
    return Client(args.namespace, args.context, args.kubeconfig)


def chosen(args: argparse.Namespace) -> JobHandle:
    """Return the job that is named, or my newest one; then a line says which."""
    if args.job is not None:
        return client(args).get(args.job)
    found = client(args).newest()
    say(one_line(f"{found.name} (your newest job in {found.namespace})"))
    return found


def kubectl_options(args: argparse.Namespace) -> list[str]:
    """Return the options by which kubectl goes to the same cluster."""
    given = {"--context": args.context, "--kubeconfig": args.kubeconfig}
    return [f"{name}={value}" for name, value in given.items() if value is not None]


def exit_code(verb: Callable[[], int]) -> int:
    """Return a verb's exit code, and print what went wrong."""
    try:
        return verb()
    except JobFailed as error:
        say(str(error))
        return FAILED
    except JobInvalid as error:
        say(str(error))
        return INVALID
    except ClusterError as error:
        say(one_line(str(error)))
        return NO_CLUSTER
    except TimeoutError as error:
        say(one_line(str(error)))
        return TIMED_OUT


def must_be_valid(body: dict[str, Any]) -> None:
    """Look at a job as the operator would.

    Raises
    ------
    JobInvalid
        Something is wrong with it.
    """
    problems = validate(parse_job(body))
    if problems:
        raise JobInvalid("\n".join(one_line(str(each)) for each in problems))


def is_terminal() -> bool:
    """Return whether somebody sits there who can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()
