"""The way to all jobs of a namespace."""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftjob.client.cluster import connect
from ftjob.client.errors import NoSuchJob
from ftjob.client.handle import JobHandle, path_of
from ftjob.models.manifest import mapping
from ftjob.models.names import API_VERSION, GROUP, KIND, LABEL_USER, PLURAL, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.client.cluster import Body, Cluster

PAGE = 500
DRY_RUN = {"dryRun": "All"}
STRICT = {"fieldValidation": "Strict", "fieldManager": "ftjob"}


class Client:
    """Jobs in a cluster.

    Parameters
    ----------
    namespace
        Where they are; left out: the namespace of the kubeconfig's context.
    context
        The kubeconfig's context; left out: the current one.
    kubeconfig
        The path of another kubeconfig than kubectl's.

    Raises
    ------
    ClusterError
        There is no such kubeconfig or context.
    """

    def __init__(
        self, namespace: str | None = None, context: str | None = None, kubeconfig: str | None = None
    ) -> None:
        self._cluster: Cluster = connect(namespace, context, kubeconfig)

    @property
    def namespace(self) -> str:
        """Where its jobs are."""
        return self._cluster.namespace

    def submit(self, job: Mapping[str, Any], *, dry_run: bool = False) -> JobHandle:
        """Create a job.

        Parameters
        ----------
        job
            What would stand in its YAML file.
        dry_run
            Only ask the API server whether it would take it.

        Raises
        ------
        JobInvalid
            It says something wrong.
        Conflict
            There is a job of its name.
        """
        meta = dict(mapping(dict(job), "metadata"))
        namespace = str(meta.get("namespace") or self.namespace)
        meta["labels"] = {LABEL_USER: user()} | dict(mapping(meta, "labels"))
        body = {**job, "apiVersion": API_VERSION, "kind": KIND, "metadata": meta | {"namespace": namespace}}
        query = STRICT | (DRY_RUN if dry_run else {})
        return JobHandle(self._cluster, self._cluster.create(path_of(namespace), body, **query))

    def get(self, name: str) -> JobHandle:
        """Return a job by its name.

        Raises
        ------
        NoSuchJob
            There is none.
        """
        return JobHandle(self._cluster, self._cluster.get(path_of(self.namespace, name)))

    def newest(self) -> JobHandle:
        """Return my newest job in the namespace.

        Raises
        ------
        NoSuchJob
            I have none there.
        """
        mine = self.list(mine=True)
        if not mine:
            raise NoSuchJob(f"no job of {user()} in namespace {self.namespace}; name a job")
        return mine[0]

    def list(self, *, mine: bool = False, all_namespaces: bool = False) -> list[JobHandle]:
        """Return jobs, the newest first."""
        path = f"/apis/{GROUP}/{VERSION}/{PLURAL}" if all_namespaces else path_of(self.namespace)
        query: dict[str, str | int] = {"limit": PAGE}
        if mine:
            query["labelSelector"] = f"{LABEL_USER}={user()}"
        found: list[Body] = []
        while True:
            page = self._cluster.get(path, **query)
            found += page.get("items") or []
            more = mapping(page, "metadata").get("continue")
            if not more:
                break
            query["continue"] = str(more)
        found.sort(key=lambda body: str(mapping(body, "metadata").get("creationTimestamp")), reverse=True)
        return [JobHandle(self._cluster, body) for body in found]


def user() -> str:
    """Return the label's value that says whose a job is: this machine's name of the user."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container without a passwd entry
        name = Path.home().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:63].strip("-._") or "nobody"
