"""Who is where in an attempt: roles, ranks, addresses and ports."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.api.defaults import processes_per_worker, roles_of
from ftjob.models.layout import Layout, WorkerPlace
from ftjob.models.manifest import mapping
from ftjob.models.spec import template_of

if TYPE_CHECKING:
    from ftjob.api.job import Job

PORT_BASE = 20_000
PORT_STEP = 8
PORT_BLOCKS = 1_200
"""Blocks of eight ports in 20000-29599: below Linux' ephemeral ports (32768) and Kubernetes' node ports
(30000), so that jobs with hostNetwork rarely meet each other and never a kernel-chosen port."""

SERVER_PORT = 2
"""Of what a worker's first rank serves, counted from its agent's."""

LOCAL_ADDRESS = "127.0.0.1"


def agent_port(uid: str) -> int:
    """Return the port of the leader's agent for the job with this UID, the first of the job's block."""
    return PORT_BASE + PORT_STEP * (zlib.crc32(uid.encode()) % PORT_BLOCKS)


def worker_port(job: Job, role: str, index: int) -> int:
    """Return the port of a worker's agent: the leader's, but on its node's network one of its own."""
    block = agent_port(job.uid)
    if not _is_on_host_network(job, role):
        return block
    before = 0
    for earlier, count in roles_of(job.spec).items():
        if earlier == role:
            break
        before += count
    return _port(block, before + index)


def pod_name(job: str, role: str, attempt: int, index: int, replaced: int = 0) -> str:
    """Return the name of a pod, which is its host name too.

    Parameters
    ----------
    replaced
        How many pods an elastic job has had for this index before, within the attempt.
    """
    name = f"{job}-{role}-{attempt}-{index}"
    return f"{name}-{replaced}" if replaced else name


def cluster_layout(job: Job, attempt: int) -> Layout:
    """Lay an attempt out over pods that find each other by the headless Service.

    Hosts are ``<pod>.<service>.<namespace>.svc``; the cluster's domain is left to the resolver's search list.
    """
    block = agent_port(job.uid)
    processes = processes_per_worker(job.spec)
    places = [(role, index) for role, count in roles_of(job.spec).items() for index in range(count)]
    replaced = (job.status.replaced or {}) if attempt == job.status.pod_attempt else {}
    names = [pod_name(job.name, role, attempt, index, replaced.get(str(index), 0)) for role, index in places]
    return Layout(
        spec=job.spec,
        uid=job.uid,
        attempt=attempt,
        workers=tuple(
            WorkerPlace(
                role=role,
                index=index,
                number=number,
                name=name,
                host=f"{name}.{job.name}.{job.namespace}.svc",
                port=port,
                server_port=port + SERVER_PORT,
                processes=processes,
            )
            for number, ((role, index), name) in enumerate(zip(places, names, strict=True))
            for port in (_port(block, number) if _is_on_host_network(job, role) else block,)
        ),
        rendezvous_port=block + 1,
        slices_port=block + 3,
    )


def _is_on_host_network(job: Job, role: str) -> bool:
    return bool(mapping(template_of(job.spec, role), "spec").get("hostNetwork"))


def _port(block: int, number: int) -> int:
    """Return the port of an agent on its node's network, where other workers of its job may be, too.

    The pod declares it, so that what takes the same port, after thousands of workers or by another job, is
    placed on another node.
    """
    if number == 0:
        return block
    return PORT_BASE + (block - PORT_BASE + PORT_STEP * number) % (PORT_STEP * PORT_BLOCKS)


def local_port_count(job: Job) -> int:
    """Return how many free ports `local_layout` needs."""
    return 2 * sum(roles_of(job.spec).values()) + 2


def local_layout(job: Job, attempt: int, ports: tuple[int, ...]) -> Layout:
    """Lay an attempt out over processes of this machine.

    Parameters
    ----------
    ports
        Free ports, as many as `local_port_count` says: every process that listens gets its own.
    """
    layout = cluster_layout(job, attempt)
    count = len(layout.workers)
    rendezvous, slices, *others = ports
    workers = tuple(
        replace(worker, host=LOCAL_ADDRESS, port=agent, server_port=server)
        for worker, agent, server in zip(layout.workers, others[:count], others[count:], strict=True)
    )
    return replace(layout, workers=workers, rendezvous_port=rendezvous, slices_port=slices, is_local=True)
