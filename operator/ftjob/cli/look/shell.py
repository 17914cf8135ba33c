"""``ftjob shell``: into the pod of a rank, with the environment that the rank has."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from ftjob.api.job import Job, parse_job
from ftjob.cli.jobs.common import chosen, exit_code, kubectl_options
from ftjob.client import ClusterError, JobInvalid
from ftjob.models.manifest import trainer_in
from ftjob.models.names import LABEL_ATTEMPT, LABEL_COLLECTS, LABEL_INDEX, LABEL_ROLE, LABEL_UID
from ftjob.models.status import Phase
from ftjob.plan.layout import cluster_layout
from ftjob.plan.observed.pod import read_pod
from ftjob_protocol import variables

if TYPE_CHECKING:
    import argparse
    from typing import NoReturn

    from ftjob.client import JobHandle
    from ftjob.plan.observed.pod import PodState

# Runs in the container, by the Python that its agent runs by, 3.9 or newer. The rank's first process is that
# child of the agent that leads a session; others below have the same variables. By the hooks and by torch's
# file of errors a program speaks for its rank. They are left out: what fails here is no failure of the rank.
_ENTER = f"""\
import os, sys
rank, words = sys.argv[1], sys.argv[2:]

def read(pid, name):
    try:
        with open(f"/proc/{{pid}}/{{name}}", "rb") as file:
            return file.read()
    except OSError:
        return b""

def variables(pid):
    found = (item.partition("=") for item in os.fsdecode(read(pid, "environ")).split("\\0"))
    return {{name: value for name, is_one, value in found if is_one}}

def is_first(pid):
    stat = read(pid, "stat").rpartition(b")")[2].split()
    return bool(stat) and int(stat[3]) == pid and "{variables.AGENT_CONFIG}" in variables(int(stat[1]))

def began(pid):
    return int((read(pid, "stat").rpartition(b")")[2].split() or [0] * 20)[19])

pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
ours = [pid for pid in pids if variables(pid).get("{variables.RANK}") == rank and is_first(pid)]
env = {{}}
if ours:
    first = min(ours, key=began)
    env = variables(first)
    try:
        os.chdir(f"/proc/{{first}}/cwd")  # with code of the user's own it is not the container's
    except OSError:
        pass
if not env:
    sys.stderr.write(f"ftjob: rank {{rank}} does not run, or not as this user; this is its container's "
                     "environment\\n")
    env = {{name: value for name, value in os.environ.items() if name not in {variables.PRIVATE!r}}}
path = [each for each in env.pop("PYTHONPATH", "").split(":") if not each.endswith("/ftjob_agent/hooks")]
if any(path):
    env["PYTHONPATH"] = ":".join(path)
env.pop("TORCHELASTIC_ERROR_FILE", None)
for tried in [words] if words else [["bash"], ["sh"]]:
    try:
        os.execvpe(tried[0], tried, env)
    except OSError as error:
        code = 126 if isinstance(error, PermissionError) else 127
        said = f"ftjob: {{tried[0]}} can't be started in the pod: {{error.strerror}}\\n"
sys.stderr.write(said)
sys.exit(code)
"""


def main(args: argparse.Namespace) -> int:
    """Become `kubectl exec`: signals, the terminal and the exit code are its business."""

    def verb() -> int:
        job = chosen(args)
        pod, trainer = pod_of(job, args.rank)
        _enter(args, job, pod, trainer)

    return exit_code(verb)


def _enter(args: argparse.Namespace, job: JobHandle, pod: str, trainer: str) -> NoReturn:
    terminal = ["--tty"] * sys.stdin.isatty()
    where = [pod, f"--namespace={job.namespace}", f"--container={trainer}", *kubectl_options(args)]
    program = ["python3", "-IS", "-c", _ENTER, str(args.rank), *args.words]
    command = ["kubectl", "exec", "--stdin", *terminal, *where, "--", *program]
    sys.stdout.flush()
    try:
        os.execvp("kubectl", command)  # noqa: S606  # it takes no shell
    except OSError as error:
        raise ClusterError(
            f"`ftjob shell` goes through `kubectl exec`, and kubectl can't be started ({error.strerror}): "
            "install it"
        ) from None


def pod_of(found: JobHandle, rank: int) -> tuple[str, str]:
    """Return the names of the pod and of the container that a rank runs in.

    Raises
    ------
    JobInvalid
        The job has no such rank.
    ClusterError
        No container of the rank runs, for now or for good.
    """
    job, status = parse_job(found.body), found.status
    if not isinstance(job, Job):
        raise JobInvalid(f"{found.name}: this version of ftjob can't read its spec; use the operator's")
    layout = cluster_layout(job, status.pod_attempt)
    worker = next((each for each in layout.workers if rank in each.ranks), None)
    if worker is None:
        raise JobInvalid(
            f"--rank {rank}: {found.name} has no such rank; name one from 0 to {layout.world_size - 1}"
        )
    if status.phase is not None and status.phase.is_final:
        raise ClusterError(
            f"{found.name} has {str(status.phase).lower()}, and its pods no longer run; `ftjob rerun "
            f"{found.name}` runs it once more, `ftjob status {found.name}` says how it ended"
        )
    labels = {
        LABEL_UID: found.uid,
        LABEL_ROLE: worker.role,
        LABEL_INDEX: worker.index,
        LABEL_ATTEMPT: status.pod_attempt,
    }
    selector = ",".join((*(f"{name}={value}" for name, value in labels.items()), f"!{LABEL_COLLECTS}"))
    path = f"/api/v1/namespaces/{found.namespace}/pods"
    pods = [_read(raw) for raw in found.cluster.items(path, labelSelector=selector)]
    for pod, trainer in pods:
        if pod.running and not pod.is_lost:
            return pod.name, trainer
    raise ClusterError(_why_not(found, rank, pods[-1][0] if pods else None))


def _read(raw: dict[str, Any]) -> tuple[PodState, str]:
    trainer = str(trainer_in(raw).get("name"))
    return read_pod(raw, trainer=trainer, seen=0.0), trainer


def _why_not(job: JobHandle, rank: int, pod: PodState | None) -> str:
    """Say why nobody can enter, and what to do."""
    phase, status = job.status.phase, f"`ftjob status {job.name}` says why"
    if phase is Phase.SUSPENDED:
        return f"{job.name} is Suspended and has no pods; `ftjob resume {job.name}` lets it go on"
    if pod is None:
        return f"rank {rank} of {job.name} has no pod, the job is {phase or 'new'}; {status}"
    if pod.is_lost:
        return f"pod {pod.name} of rank {rank} is on a node that does not answer; {status}"
    if pod.terminated is not None:
        code = pod.terminated.exit_code
        return (
            f"pod {pod.name} of rank {rank} has ended with exit code {code}; {status}, or enter another rank"
        )
    waits = f" ({pod.waiting})" if pod.waiting else ""
    return (
        f"pod {pod.name} of rank {rank} does not run yet{waits}; {status}, `ftjob wait {job.name} --for "
        "Running` waits for it"
    )
