"""Finding a job by what people call it: a folder of outputs, or its name in the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ftjob.cli.jobs.common import chosen
from ftjob.client import ClusterError, JobInvalid
from ftjob.client.handle import status_of
from ftjob.models.manifest import mapping
from ftjob.models.names import KIND
from ftjob_protocol import files
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    import argparse

    from ftjob.client import JobHandle
    from ftjob.models.status import JobStatus

DEFAULT_OUTPUTS = Path("ftjob-outputs")
JOB_LIMIT = 1 << 24


class NoJobError(JobInvalid):
    """There is no such folder of a job; the text says why, and what to do about it."""


@dataclass(frozen=True)
class FoundJob:
    """A job with its status."""

    body: dict[str, Any]
    status: JobStatus
    outputs: Path | None = None
    """The folder of a run on this machine."""
    handle: JobHandle | None = None
    """The job in the cluster, if it is there."""

    @property
    def name(self) -> str:
        """Its name."""
        return str(mapping(self.body, "metadata").get("name"))

    @property
    def namespace(self) -> str:
        """Where it is in the cluster."""
        return str(mapping(self.body, "metadata").get("namespace") or "default")

    @property
    def spec(self) -> dict[str, Any]:
        """Its spec."""
        return mapping(self.body, "spec")

    def again(self) -> FoundJob:
        """Return it as it is now."""
        if self.handle is not None:
            self.handle.refresh()
            return of_handle(self.handle)
        assert self.outputs is not None
        return of_folder(self.outputs)


def find_job(args: argparse.Namespace) -> FoundJob:
    """Return a job.

    Parameters
    ----------
    args
        ``job`` is a folder with the outputs of a run or a job, or a job's name: then a run in the default
        folder of that name comes before the cluster, unless an option says where in a cluster it is. None
        is my newest job in the cluster.

    Raises
    ------
    NoJobError
        There is no such folder.
    ClusterError
        There is no such job in the cluster, or it can't be asked.
    """
    if args.job is None or is_of_cluster(args):
        return of_handle(chosen(args))
    path = Path(args.job)
    for folder in (path, DEFAULT_OUTPUTS / args.job):
        if (folder / files.JOB).exists():
            return of_folder(folder)
    if path.is_dir() or "/" in args.job:
        why = "there is no such folder" if not path.is_dir() else f"there is no {files.JOB} in it"
        raise NoJobError(f"{args.job}: {why}; name the folder of --outputs of a run, or a job in the cluster")
    try:
        return of_handle(chosen(args))
    except ClusterError as error:
        raise type(error)(
            f"{args.job} is no folder with the outputs of a run, and as a job: {error}"
        ) from None


def is_of_cluster(args: argparse.Namespace) -> bool:
    """Return whether an option says where in a cluster the job is."""
    return any(each is not None for each in (args.namespace, args.context, args.kubeconfig))


def of_handle(handle: JobHandle) -> FoundJob:
    """Return a job in the cluster."""
    return FoundJob(handle.body, handle.status, handle=handle)


def of_folder(folder: Path) -> FoundJob:
    """Return the job whose outputs are in a folder.

    Raises
    ------
    NoJobError
        It can't be read.
    """
    where = folder / files.JOB
    try:
        with Folder(str(folder)) as found:
            body = yaml.safe_load(found.read(files.JOB, JOB_LIMIT))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NoJobError(f"{where} can't be read: {why}") from None
    if not isinstance(body, dict) or body.get("kind") != KIND:
        raise NoJobError(f"{where} holds no {KIND}")
    try:
        return FoundJob(body, status_of(body), folder)
    except ClusterError as error:
        raise NoJobError(f"{where}: {error}") from None
