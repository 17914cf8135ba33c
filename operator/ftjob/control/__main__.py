"""``python -m ftjob.control``: the operator."""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
from typing import TYPE_CHECKING

import kopf
import uvloop

import ftjob.insight
from ftjob.agent_zipapp import build_zipapp
from ftjob.control.credentials import connection_info
from ftjob.control.process.logs import set_up_logs
from ftjob.control.run import Options, run
from ftjob.models.brought import AgentFile
from ftjob.plan.plan import CollectorImage, Config, OperatorPods

if TYPE_CHECKING:
    from collections.abc import Sequence

ENVIRONMENT = "FTJOB_"
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A DNS label (RFC 1123). kopf would read a pattern, such as ``team-*``, where the lists know none."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the operator; return the process' exit code."""
    args = parse(argv)
    set_up_logs(level=args.log_level, style=args.log_format)
    try:
        info = connection_info()
    except kopf.LoginError as error:
        print(f"ftjob.control: {error}", file=sys.stderr)
        return 2
    home = os.environ.get("POD_NAMESPACE") or info.default_namespace or "default"
    config = Config(
        agent=AgentFile(build_zipapp()),
        default_storage_class_name=args.default_storage_class or None,
        network_policy_from=OperatorPods(home, labels) if (labels := args.network_policy_from) else None,
        collector=_collector(args),
    )
    options = Options(
        config=config,
        namespaces=args.namespaces,
        pod_namespace=home,
        pod_name=os.environ.get("POD_NAME") or socket.gethostname(),
        leader_election=not args.no_leader_election,
        reconcilers=args.workers,
        health_port=args.health_port,
        metrics_port=args.metrics_port,
    )
    uvloop.run(run(options))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; the environment sets options that it leaves out (``FTJOB_NAMESPACES``…)."""
    parser = argparse.ArgumentParser(
        prog="python -m ftjob.control",
        description="The ftjob operator. The environment can set options too: FTJOB_NAMESPACES and so on.",
    )

    def option(name: str, default: str, text: str, **more: object) -> None:
        variable = ENVIRONMENT + name.strip("-").upper().replace("-", "_")
        parser.add_argument(name, default=os.environ.get(variable) or default, help=text, **more)  # type: ignore[arg-type]

    option("--namespaces", "", "the namespaces to serve, with commas between; all if left out", type=_names)
    option(
        "--default-storage-class", "", "storage class of outputs that name none; the cluster's if left out"
    )
    option(
        "--network-policy-from",
        "",
        "make a NetworkPolicy for each job, which lets in the job's own pods and, to the agents' port, the "
        "operator's pods; these have these labels (KEY=VALUE,…)",
        type=_labels,
    )
    option(
        "--collector-image",
        "",
        "image of the pods that write reports into the jobs' outputs, the operator's own; none if left out",
    )
    option(
        "--collector-pull-policy",
        "IfNotPresent",
        "when that image is pulled",
        choices=("Always", "IfNotPresent", "Never"),
    )
    parser.add_argument(
        "--no-leader-election",
        action="store_true",
        default=os.environ.get("FTJOB_NO_LEADER_ELECTION", "").lower() in {"1", "true", "yes"},
        help="work without a Lease; never run two such operators",
    )
    option("--metrics-port", "8080", "port of /metrics", type=int)
    option("--health-port", "8081", "port of /healthz and /readyz", type=int)
    option("--log-level", "info", "debug, info, warning or error")
    option("--log-format", "json", "json or text", choices=("json", "text"))
    option("--workers", "16", "how many jobs are looked at at the same time", type=int)
    return parser.parse_args(argv)


def _collector(args: argparse.Namespace) -> CollectorImage | None:
    if not args.collector_image:
        return None
    command = ("python", "-m", ftjob.insight.__name__)
    return CollectorImage(args.collector_image, command, args.collector_pull_policy)


def _names(text: str) -> tuple[str, ...]:
    """Read ``NAME,NAME``."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    wrong = [name for name in names if not NAMESPACE.fullmatch(name)]
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is no name of a namespace; write a,b for two")
    return names


def _labels(text: str) -> dict[str, str]:
    """Read ``KEY=VALUE,KEY=VALUE``; without any label a policy would let in the whole namespace."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not all(key and value for key, _, value in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of labels; write KEY=VALUE,KEY=VALUE")
    return {key: value for key, _, value in pairs}


if __name__ == "__main__":
    sys.exit(main())
