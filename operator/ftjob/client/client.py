"""The way to all jobs of a namespace."""

from __future__ import annotations

import getpass
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ftjob.client import bring_code
from ftjob.client.cluster import connect
from ftjob.client.errors import ClusterError, JobInvalid, NoSuchJob, Refused
from ftjob.client.handle import PAUSE_SECONDS, WATCH_SECONDS, JobHandle, path_of
from ftjob.client.patience import Patience
from ftjob.models.manifest import mapping
from ftjob.models.names import API_VERSION, GROUP, KIND, LABEL_USER, PLURAL, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ftjob.client.cluster import Body, Cluster
    from ftjob.code.pack import Archive

DRY_RUN = {"dryRun": "All"}
LONGEST_PAUSE_SECONDS = 30.0
"""Between lists of all jobs, where no watch lasts."""
BOOKMARKS = {"allowWatchBookmarks": "true"}
"""The server says now and then how far a watch is, so that the next one can begin there."""
STRICT = {"fieldValidation": "Strict", "fieldManager": "ftjob"}


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: dates are texts."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


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

    def submit(
        self,
        job: Mapping[str, Any] | str | Path,
        *,
        code: str | Path | Archive | None = None,
        dry_run: bool = False,
    ) -> JobHandle:
        """Create a job.

        Parameters
        ----------
        job
            What would stand in its YAML file, or the path of that.
        code
            A folder, which becomes the ranks' working folder: the files in it that git knows or would.
        dry_run
            Only ask the API server whether it would take it.

        Raises
        ------
        JobInvalid
            It says something wrong, or the code can't be packed.
        Conflict
            There is a job of its name.
        """
        job = _of_file(Path(job)) if isinstance(job, str | Path) else job
        meta = dict(mapping(dict(job), "metadata"))
        namespace = str(meta.get("namespace") or self.namespace)
        meta["labels"] = {LABEL_USER: user()} | dict(mapping(meta, "labels"))
        body = {**job, "apiVersion": API_VERSION, "kind": KIND, "metadata": meta | {"namespace": namespace}}
        query = STRICT | (DRY_RUN if dry_run else {})
        archive = bring_code.packed(code) if code is not None else None
        if archive is not None:
            body["spec"] = mapping(body, "spec") | {"code": archive.reference(str(meta.get("name") or ""))}
        if mapping(body, "spec", "code"):
            return JobHandle(self._cluster, bring_code.create(self._cluster, body, archive, query))
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
        selector = f"{LABEL_USER}={user()}" if mine else ""
        return [*self._handles(self._cluster.items(self._path(all_namespaces), labelSelector=selector))]

    def watch(self, *, all_namespaces: bool = False) -> Iterator[Sequence[JobHandle]]:
        """Yield all jobs, the newest first, now and whenever one of them has changed. It has no end.

        Raises
        ------
        ClusterError
            The cluster refuses, or was out of reach for two minutes.
        """
        path = self._path(all_namespaces)
        found, version = self._cluster.items_as_of(path)
        known = _by_uid(found)
        yield self._handles(known.values())
        patience, pause = Patience(), PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                if not version:
                    found, version = self._cluster.items_as_of(path)
                    patience.heard()
                    if _versions(found) != _versions(known.values()):
                        known = _by_uid(found)
                        yield self._handles(known.values())
                query = BOOKMARKS | {"resourceVersion": version}
                for event in self._cluster.watch(path, seconds=WATCH_SECONDS, **query):
                    version = str(_meta(event["object"], "resourceVersion") or "")
                    patience.heard()
                    if _note(known, event):
                        yield self._handles(known.values())
            except Refused:
                raise
            except ClusterError as error:
                version = ""  # it may have expired
                patience.lost(error)
            # Where no watch lasts, a server that is in trouble is asked less and less.
            lasted = time.monotonic() - began >= pause
            pause = PAUSE_SECONDS if lasted else min(2 * pause, LONGEST_PAUSE_SECONDS)
            time.sleep(pause)

    def _path(self, all_namespaces: bool) -> str:
        return f"/apis/{GROUP}/{VERSION}/{PLURAL}" if all_namespaces else path_of(self.namespace)

    def _handles(self, found: Iterable[Body]) -> Sequence[JobHandle]:
        """Return handles of jobs, the newest first."""
        newest = sorted(found, key=lambda body: str(_meta(body, "creationTimestamp")), reverse=True)
        return [JobHandle(self._cluster, body) for body in newest]


def _meta(body: Body, key: str) -> Any:
    return mapping(body, "metadata").get(key)


def _by_uid(found: Iterable[Body]) -> dict[str, Body]:
    return {str(_meta(body, "uid")): body for body in found}


def _versions(found: Iterable[Body]) -> set[tuple[Any, Any]]:
    return {(_meta(body, "uid"), _meta(body, "resourceVersion")) for body in found}


def _note(known: dict[str, Body], event: Body) -> bool:
    """Take an event of a watch into what is known; return whether it has told anything of a job."""
    body, kind = event["object"], event["type"]
    uid = str(_meta(body, "uid"))
    if kind == "DELETED":
        return known.pop(uid, None) is not None
    if kind not in {"ADDED", "MODIFIED"}:  # a bookmark
        return False
    known[uid] = body
    return True


def _of_file(path: Path) -> dict[str, Any]:
    """Return the one job of a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
        found = [each for each in yaml.load_all(text, _Loader) if each is not None]
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise JobInvalid(f"{path}: {error}; give the path of a YAML file") from None
    if len(found) != 1 or not isinstance(found[0], dict) or found[0].get("kind") != KIND:
        raise JobInvalid(f"{path}: give a file with one {KIND} and nothing else")
    return found[0]


def user() -> str:
    """Return the label's value that says whose a job is: this machine's name of the user."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container without a passwd entry
        name = Path.home().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:63].strip("-._") or "nobody"
