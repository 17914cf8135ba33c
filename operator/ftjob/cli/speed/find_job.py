"""Finding a job by what people call it: a folder of outputs, or its name in the cluster."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from ftjob.models.manifest import mapping
from ftjob.models.names import GROUP, KIND, PLURAL
from ftjob.models.status import JobStatus
from ftjob_protocol import files
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_OUTPUTS = Path("ftjob-outputs")
JOB_LIMIT = 1 << 24
KUBECTL_SECONDS = 60


class NoJobError(Exception):
    """There is no such job, or it can't be read; the text says why, and what to do about it."""


class KubectlError(Exception):
    """What went wrong with kubectl, as far as possible in its own words."""


@dataclass(frozen=True)
class FoundJob:
    """A job with its status."""

    name: str
    spec: dict[str, Any]
    status: JobStatus
    outputs: Path | None
    """The folder of a run on this machine; None: it is in the cluster."""
    body: dict[str, Any]

    @property
    def namespace(self) -> str:
        """Where it is in the cluster."""
        return str(mapping(self.body, "metadata").get("namespace") or "default")


def find_job(target: str, namespace: str | None) -> FoundJob:
    """Return a job.

    Parameters
    ----------
    target
        A folder that `ftjob run` or a job has left its outputs in, or a job's name: then a run in the default
        folder of that name comes before the cluster, unless a namespace is given.

    Raises
    ------
    NoJobError
        There is none.
    """
    path = Path(target)
    if namespace is None:
        for folder in (path, DEFAULT_OUTPUTS / target):
            if (folder / files.JOB).exists():
                return _read(_local(folder), str(folder / files.JOB), folder)
        if path.is_dir() or "/" in target:
            why = "there is no such folder" if not path.is_dir() else f"there is no {files.JOB} in it"
            raise NoJobError(
                f"{target}: {why}; name the folder of --outputs of a run, or a job in the cluster"
            )
    return _read(_in_cluster(target, namespace), target, None)


def _read(body: Any, where: str, outputs: Path | None) -> FoundJob:
    if not isinstance(body, dict) or body.get("kind") != KIND:
        raise NoJobError(f"{where} holds no {KIND}")
    try:
        status = JobStatus.model_validate(mapping(body, "status"))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, ("status", *first["loc"])))
        raise NoJobError(
            f"{where}: {field}: {first['msg']}; another version of ftjob has written it"
        ) from None
    name = str(mapping(body, "metadata").get("name"))
    return FoundJob(name, mapping(body, "spec"), status, outputs, body)


def _local(folder: Path) -> Any:
    try:
        with Folder(str(folder)) as found:
            return yaml.safe_load(found.read(files.JOB, JOB_LIMIT))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NoJobError(f"{folder / files.JOB} can't be read: {why}") from None


def _in_cluster(name: str, namespace: str | None) -> Any:
    where = ["-n", namespace] if namespace is not None else []
    try:
        text = kubectl(["get", f"{PLURAL}.{GROUP}", name, "-o", "json", *where])
    except FileNotFoundError:
        raise NoJobError(
            f"{name} is no folder with the outputs of a run, and to look for a job in the cluster kubectl is "
            "needed: install it, or name a folder"
        ) from None
    except KubectlError as error:
        raise NoJobError(f"{name}: {error}") from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise NoJobError(f"{name}: kubectl's answer is no JSON: {error}") from None


def kubectl(words: Sequence[str], *, given: str | None = None, seconds: float = KUBECTL_SECONDS) -> str:
    """Return what kubectl prints.

    Parameters
    ----------
    given
        What it reads from its standard input.
    seconds
        For how long it is waited for.

    Raises
    ------
    FileNotFoundError
        It is not installed.
    KubectlError
        It does not answer, or says that something is wrong.
    """
    try:
        done = subprocess.run(
            ["kubectl", *words], input=given, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise KubectlError(f"kubectl has not answered in {seconds:g} s") from None
    if done.returncode:
        raise KubectlError(done.stderr.strip() or "kubectl failed")
    return done.stdout
