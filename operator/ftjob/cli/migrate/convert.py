"""``ftjob convert``."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ftjob.cli.exit_codes import INVALID, SUCCEEDED
from ftjob.cli.jobs.common import exit_code
from ftjob.cli.source import SourceError, documents, name_of
from ftjob.cli.terminal import one_line, say
from ftjob.client import ClusterError, JobInvalid
from ftjob.client.cluster import connect
from ftjob.convert.convert import CONVERTERS, NO_STRATEGY, Converted, convert, is_known
from ftjob.convert.draft import NoteKind, Options, RefusedError
from ftjob.convert.runtime.find import KINDS, runtime_kind, runtime_name
from ftjob.convert.text import as_yaml
from ftjob.models.manifest import mapping

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


class _CannotError(Exception):
    """Nothing can be converted; the text says why, and what to do about it."""


@dataclass(frozen=True)
class _Given:
    """One object of a file."""

    where: str
    body: dict[str, Any]

    @property
    def title(self) -> str:
        """What it is called in messages."""
        meta = mapping(self.body, "metadata")
        name = meta.get("name") or meta.get("generateName") or "(without a name)"
        return f"{self.body.get('kind')} {name}"


def main(args: argparse.Namespace) -> int:
    """Print the jobs of files as ours: all of them, or none if one is refused."""
    return exit_code(lambda: _main(args))


def _main(args: argparse.Namespace) -> int:
    try:
        given = [one for file in args.files for one in _read(file)]
        options = _options(args, given)
    except (SourceError, _CannotError) as error:
        say(str(error))
        return INVALID
    jobs = [one for one in given if is_known(one.body)]
    for one in given:
        if one not in jobs and one.body.get("kind") not in KINDS:
            say(one_line(f"{one.where}: skipped, a {one.body.get('kind')} is no job; apply it as it is"))
    if not jobs:
        kinds = ", ".join((*CONVERTERS, *NO_STRATEGY))
        say(
            one_line(
                f"{', '.join(map(name_of, args.files))}: no job to convert; give a file with one of {kinds}"
            )
        )
        return INVALID
    done = [(one, _convert(one, options)) for one in jobs]
    good = [(one, converted) for one, converted in done if converted is not None]
    if len(good) < len(done):
        say("nothing is written, since not all jobs are converted")
        return INVALID
    texts = [
        as_yaml(converted, [f"converted by ftjob from {one.title} of {one.where}"]) for one, converted in good
    ]
    sys.stdout.write("---\n".join(texts))
    return _sum_up(good, strict=args.strict)


def _sum_up(good: list[tuple[_Given, Converted]], *, strict: bool) -> int:
    dropped = False
    for one, converted in good:
        for note in converted.notes:
            say(one_line(f"{one.where}: {note}"))
        counts = Counter(note.kind for note in converted.notes)
        notes = ", ".join(f"{counts[kind]} {kind}" for kind in NoteKind if counts[kind])
        strategy = converted.job["spec"]["strategy"]
        say(one_line(f"{one.where}: {one.title} is now {strategy}: {notes or 'nothing to note'}"))
        dropped = dropped or bool(counts[NoteKind.DROPPED])
    return INVALID if strict and dropped else SUCCEEDED


def _convert(one: _Given, options: Options) -> Converted | None:
    try:
        return convert(one.body, options)
    except RefusedError as error:
        for problem in error.problems:
            say(one_line(f"{one.where}: {one.title} is not converted: {problem}"))
        return None


def _read(file: str) -> Iterator[_Given]:
    """Yield all objects of a file, those in lists too."""
    for document in documents(file):
        where = f"{name_of(file)}:{document.line}"
        kind = document.body.get("kind")
        if not isinstance(kind, str) or not isinstance(document.body.get("apiVersion"), str):
            raise _CannotError(one_line(f"{where}: kind or apiVersion is missing; write the whole object"))
        if not kind.endswith("List"):
            yield _Given(where, document.body)
            continue
        found = document.body.get("items")
        for body in found if isinstance(found, list) else []:
            if not isinstance(body, dict):
                raise _CannotError(
                    one_line(f"{where}: an item of {kind} is no object; write the whole object")
                )
            # A list by kind leaves kind and apiVersion out of its items.
            own = {"apiVersion": document.body["apiVersion"], "kind": kind.removesuffix("List")}
            yield _Given(where, {**own, **body})


def _options(args: argparse.Namespace, given: list[_Given]) -> Options:
    try:
        command = tuple(shlex.split(args.entry_point or ""))
    except ValueError as error:
        raise _CannotError(f"--command: {error}; close the quotes") from None
    runtimes = [one for file in args.runtime for one in _read(file)]
    for one in runtimes:
        if one.body.get("kind") not in KINDS:
            raise _CannotError(
                one_line(f"{one.where}: {one.title} is no runtime; give a {' or '.join(KINDS)}")
            )
    known = {
        str(mapping(one.body, "metadata").get("name")): one.body
        for one in (*given, *runtimes)
        if one.body.get("kind") in KINDS
    }
    if args.from_cluster:
        for one in given:
            name = runtime_name(one.body) if one.body.get("kind") == "TrainJob" else ""
            if name and name not in known:
                known[name] = _from_cluster(one, name, args)
    return Options(command, args.strategy, args.library, known)


def _from_cluster(one: _Given, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return a runtime as the cluster has it."""
    kind = runtime_kind(one.body)
    if kind not in KINDS:
        raise _CannotError(one_line(f"{one.where}: runtimeRef.kind is {kind}; write {' or '.join(KINDS)}"))
    cluster = connect(args.namespace, args.context, args.kubeconfig)
    namespace = args.namespace or mapping(one.body, "metadata").get("namespace") or cluster.namespace
    where = f"namespaces/{namespace}/" if kind == KINDS[1] else ""
    path = f"/apis/{one.body['apiVersion']}/{where}{kind.lower()}s/{quote(name, safe='')}"
    try:
        return cluster.get(path)
    except (ClusterError, JobInvalid) as error:
        raise ClusterError(f"{kind} {name}: {error}; or give its YAML by --runtime") from None
