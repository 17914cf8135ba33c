"""``ftjob rerun``: the same spec and code once more, by a new name."""

from __future__ import annotations

import copy
import re
import secrets
from typing import TYPE_CHECKING, Any

from ftjob.cli.exit_codes import SUCCEEDED
from ftjob.cli.jobs.common import chosen, client, exit_code, must_be_valid
from ftjob.cli.jobs.settings import apply
from ftjob.cli.terminal import one_line, say
from ftjob.models.manifest import mapping
from ftjob.models.names import JOB_NAME_MAX

if TYPE_CHECKING:
    import argparse

    from ftjob.client import JobHandle

_MADE = re.compile(r"-[0-9a-f]{4}$")


def main(args: argparse.Namespace) -> int:
    """Create the job and print its name."""

    def verb() -> int:
        old = chosen(args)
        body = again(old, args.set or [])
        must_be_valid(body)
        args.namespace = old.namespace
        new = client(args).submit(body)
        print(new.name)
        say(one_line(f"`ftjob logs {new.name}` follows it"))
        return SUCCEEDED

    return exit_code(verb)


def again(job: JobHandle, changes: list[str]) -> dict[str, Any]:
    """Return a job to submit: what a user has said of this one, with some fields changed.

    Raises
    ------
    JobInvalid
        A change can't be read.
    """
    meta = mapping(job.body, "metadata")
    body: dict[str, Any] = {key: job.body[key] for key in ("apiVersion", "kind")}
    stem = _MADE.sub("", job.name)[: JOB_NAME_MAX - 5].rstrip("-")
    body["metadata"] = {"name": f"{stem}-{secrets.token_hex(2)}", "namespace": job.namespace}
    body["metadata"] |= {
        key: {name: text for name, text in mapping(meta, key).items() if not _is_of_one_job(name)}
        for key in ("labels", "annotations")
        if meta.get(key)
    }
    body["spec"] = copy.deepcopy(job.body["spec"])
    body["spec"]["suspend"] = False
    apply(body, changes)
    return body


def _is_of_one_job(name: str) -> bool:
    """Return whether a label or annotation is of that one job alone."""
    return name.startswith(
        ("kubectl.kubernetes.io/", "ftjob.dev/", "kueue.x-k8s.io/prebuilt", "kueue.x-k8s.io/multikueue")
    )
