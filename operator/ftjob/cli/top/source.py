"""Where lines of vitals come from: a folder on this machine, or in a pod of the job by `kubectl exec`."""

from __future__ import annotations

import inspect
import os
import select
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ftjob.api.job import Job, parse_job
from ftjob.cli.look.shell import pod_of
from ftjob.cli.top import tail
from ftjob.client import ClusterError, JobInvalid
from ftjob.plan.build.agent_config import OUTPUTS_DIR
from ftjob.plan.layout import cluster_layout
from ftjob_protocol import files

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from ftjob.client import JobHandle

LOOK_SECONDS = 1.0
SILENCE_SECONDS = 90.0
"""A pod says something every 30 s at least."""
LAST_SECONDS = 5
CHUNK = 1 << 16
LINE_BYTES = 1 << 20
TOLD_BYTES = 1 << 12


def of_folder(outputs: Path) -> Generator[bytes]:
    """Yield the lines in the outputs of a run on this machine, and an empty one after each look."""
    vitals = tail.Tail(str(outputs / files.VITALS))
    while True:
        try:
            for found in vitals.news():
                yield from found.splitlines()
        except OSError as error:
            raise JobInvalid(f"{error.filename or outputs} can't be read: {error.strerror}") from None
        yield b""
        time.sleep(LOOK_SECONDS)


def of_pod(job: JobHandle, options: list[str]) -> Generator[bytes]:
    """Yield the lines that a job's rank 0 sees in the outputs, and an empty one after each look.

    It ends when the pod does, or the connection, and after a quarter of an hour.

    Parameters
    ----------
    options
        By which kubectl goes to the job's cluster.

    Raises
    ------
    ClusterError
        The pod does not run, kubectl can't be started, or nobody may enter the pod.
    """
    pod, trainer = pod_of(job, 0)
    where = [pod, f"--namespace={job.namespace}", f"--container={trainer}", *options]
    program = ["python3", "-IS", "-c", inspect.getsource(tail), f"{OUTPUTS_DIR}/{files.VITALS}"]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                ["kubectl", "exec", "--stdin", *where, "--", *program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
            )
        except OSError as error:
            raise ClusterError(
                "`ftjob top` goes through `kubectl exec`, and kubectl can't be started "
                f"({error.strerror}): install it"
            ) from None
        try:
            yield from _lines(process)
            with suppress(subprocess.TimeoutExpired):
                process.wait(LAST_SECONDS)
        finally:
            code = _end(process)
        said.seek(0)
        last = said.read(TOLD_BYTES).decode(errors="replace").strip().splitlines()[-1:]
    if code:
        raise ClusterError(f"pod {pod} tells nothing more: {last[0] if last else 'the connection was lost'}")


def not_shared(job: JobHandle) -> str:
    """Return why not all ranks can be seen; empty if they can."""
    found = parse_job(job.body)
    if not isinstance(found, Job) or found.spec.outputs is not None:
        return ""
    layout = cluster_layout(found, job.status.pod_attempt)
    if len(layout.workers) == 1:
        return ""
    return (
        f"only ranks in the pod of rank 0, of {layout.world_size}: without outputs each pod keeps its own "
        "figures; add `outputs: {}` to the spec of the next job"
    )


def _lines(process: subprocess.Popen[bytes]) -> Generator[bytes]:
    assert process.stdout is not None
    rest, file = b"", process.stdout.fileno()
    while select.select([file], [], [], SILENCE_SECONDS)[0]:
        chunk = os.read(file, CHUNK)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES:
            rest = b""
        yield from lines


def _end(process: subprocess.Popen[bytes]) -> int:
    """End kubectl; what it has started in the pod ends where its stdin does."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    process.stdout.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(LAST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
