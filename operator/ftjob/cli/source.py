"""Jobs from YAML files, read as the API server would read them, with the lines that problems stand in."""

from __future__ import annotations

import re
import secrets
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ftjob.api.job import AnyJob, parse_job
from ftjob.api.problem import Problem
from ftjob.api.validate import validate
from ftjob.cli.terminal import one_line
from ftjob.convert.convert import is_known
from ftjob.models.names import API_VERSION, GROUP, KIND
from ftjob_protocol.values.digits import whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

STDIN = "-"
BYTES_MAX = 3 << 20
VALUES_MAX = 100_000
DEPTH_MAX = 100
"""Far above any job that fits into an API server's 1.5 MiB."""
DOCUMENTS_MAX = 1000
DIGITS_MAX = 100
GENERATED = "bcdfghjklmnpqrstvwxz2456789"
"""What an API server adds five of to a ``generateName`` (apimachinery, pkg/util/rand)."""
COMPLAINTS_MAX = 20
"""More of one job help nobody to correct it."""


class SourceError(Exception):
    """A file can't be read as YAML; each line names file, line and remedy."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(map(one_line, lines)))


@dataclass(frozen=True)
class Found:
    """One job of a file."""

    file: str
    line: int
    body: dict[str, Any]
    job: AnyJob
    problems: tuple[Problem, ...]
    lines: tuple[int, ...]
    """For each of the first problems the line where it stands."""

    @property
    def title(self) -> str:
        """Name of the job for messages."""
        return one_line(f"{KIND} {self.job.name or '(without a name)'}")

    def complaints(self) -> list[str]:
        """Return the problems as lines for people: file, line, field, what, and what to write instead."""
        # Only of those that are shown the line was looked for.
        found = [
            one_line(f"{self.file}:{line}: {problem}")
            for problem, line in zip(self.problems, self.lines, strict=False)
        ]
        more = len(self.problems) - len(self.lines)
        return [*found, f"and {more} more problems; correct these first"] if more else found


@dataclass(frozen=True)
class Source:
    """The jobs of a file, and what else was in it."""

    jobs: tuple[Found, ...]
    notes: tuple[str, ...]


def read(file: str, namespace: str | None = None) -> Source:
    """Read all jobs of a file.

    Raises
    ------
    SourceError
        The file is not there, is not YAML, or says something twice.
    """
    name = name_of(file)
    jobs: list[Found] = []
    notes: list[str] = []
    for document in documents(file):
        _read_document(name, document, namespace, jobs, notes)
    return Source(tuple(jobs), tuple(notes))


@dataclass(frozen=True)
class Document:
    """One object of a file, of whatever kind."""

    line: int
    body: dict[str, Any]
    node: yaml.Node


def name_of(file: str) -> str:
    """Return what a file is called in messages."""
    return "stdin" if file == STDIN else file


def documents(file: str) -> Iterator[Document]:
    """Yield all objects of a file.

    Raises
    ------
    SourceError
        The file is not there, is not YAML, or says something twice.
    """
    name = name_of(file)
    try:
        for number, node in enumerate(yaml.compose_all(_text(name, file), Loader=_Loader)):
            if number == DOCUMENTS_MAX:
                raise SourceError(f"{name}: more than {DOCUMENTS_MAX} documents; use several files")
            body = _construct(name, node)
            if node is not None and body is not None:
                yield Document(node.start_mark.line + 1, body, node)
    except OSError as error:
        message = f"{name}: {error.strerror or error}; give the path of a file with a {KIND}"
        raise SourceError(message) from None
    except UnicodeError:
        message = f"{name}: not UTF-8 text; save it as UTF-8"
        raise SourceError(message) from None
    except yaml.YAMLError as error:
        raise SourceError(_explain(name, error)) from None


def _construct(name: str, node: yaml.Node | None) -> dict[str, Any] | None:
    """Return the object of a document; None if there is nothing between two ``---``."""
    if node is None:
        return None
    _count(name, node, (), 0)
    body = _Loader("").construct_document(node)
    if body is not None and not isinstance(body, dict):
        line = node.start_mark.line + 1
        raise SourceError(f"{name}:{line}: not an object; begin with `apiVersion: {API_VERSION}`")
    return body


def _text(name: str, file: str) -> str:
    """Return what a file says; its bytes are read only as far as a job may go."""
    if file == STDIN:
        return _decoded(name, sys.stdin.buffer)
    if "\0" in file:
        raise SourceError(f"{name}: no path has a NUL; give the path of a file with a {KIND}")
    with Path(file).open("rb") as stream:
        return _decoded(name, stream)


def _decoded(name: str, stream: BinaryIO) -> str:
    raw = stream.read(BYTES_MAX + 1)
    if len(raw) > BYTES_MAX:
        raise SourceError(f"{name}: larger than {BYTES_MAX >> 20} MiB; split it, no job is so large")
    return raw.decode("utf-8-sig")


def _read_document(
    name: str, document: Document, namespace: str | None, jobs: list[Found], notes: list[str]
) -> None:
    line, body, node = document.line, document.body, document.node
    kind, version = body.get("kind"), body.get("apiVersion")
    if kind and version and kind != KIND and str(version).partition("/")[0] != GROUP:
        remedy = f"; `ftjob convert {name}` makes one of it" if is_known(body) else ""
        notes.append(one_line(f"{name}:{line}: skipped, it is a {kind} and not a {KIND}{remedy}"))
        return
    problems = _problems_around_spec(body)
    body["metadata"] = ({"namespace": namespace} if namespace else {}) | _written_by_users(
        body.get("metadata")
    )
    job = parse_job(body)
    problems += validate(job) if "spec" in body else ()
    lines = tuple(_line_of(node, problem.field) for problem in islice(problems, COMPLAINTS_MAX))
    jobs.append(Found(name, line, body, job, tuple(problems), lines))


def _count(name: str, node: yaml.Node, above: tuple[yaml.Node, ...], count: int) -> int:
    """Count the values of a document as if its aliases were written out; those without an end are refused."""
    line = node.start_mark.line + 1
    if any(node is parent for parent in above):
        raise SourceError(f"{name}:{line}: an alias to what it stands in has no end; write it out")
    count += 1
    if count > VALUES_MAX or len(above) > DEPTH_MAX:
        raise SourceError(f"{name}:{line}: too large for a job; write fewer aliases and levels")
    if isinstance(node, yaml.SequenceNode):
        parts = list(node.value)
    else:
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else []
    for part in parts:
        count = _count(name, part, (*above, node), count)
    return count


def _problems_around_spec(body: dict[str, Any]) -> list[Problem]:
    """Return what the API server says about an object before it looks into spec."""
    kind, version, meta = body.get("kind"), body.get("apiVersion"), body.get("metadata")
    problems = []
    if version != API_VERSION:
        said = f"{version!r} is not served by ftjob" if version else "it is missing"
        problems.append(Problem("apiVersion", said, f"write apiVersion: {API_VERSION}"))
    if kind != KIND:
        said = f"{kind!r} is not a kind of {GROUP}" if kind else "it is missing"
        problems.append(Problem("kind", said, f"write kind: {KIND}"))
    if not isinstance(meta, dict):
        problems.append(Problem("metadata", "it is missing or no object", "write metadata: {name: my-job}"))
    else:
        problems += [
            Problem(f"metadata.{key}", "its values are not texts", "quote numbers, true and false")
            for key in ("labels", "annotations")
            if not _is_texts(meta.get(key))
        ]
    problems += [
        Problem(key, "a job has no such field", f"remove {key}, or indent it below spec")
        for key in body
        if key not in {"apiVersion", "kind", "metadata", "spec", "status"}
    ]
    if "spec" not in body:
        problems.append(Problem("spec", "it is missing", "write at least spec.strategy and spec.template"))
    return problems


def _written_by_users(meta: object) -> dict[str, Any]:
    """Return what a user decides of metadata, without what is of the wrong type or the API server's."""
    if not isinstance(meta, dict):
        return {}
    texts = {key: meta[key] for key in ("labels", "annotations") if meta.get(key) and _is_texts(meta[key])}
    named = {key: str(meta[key]) for key in ("name", "namespace") if meta.get(key) is not None}
    if "name" not in named and isinstance(meta.get("generateName"), str):
        named["name"] = meta["generateName"] + "".join(secrets.choice(GENERATED) for _ in range(5))
    return texts | named


def _is_texts(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_PART = re.compile(r"[^.\[\]]+|\[[^\]]*\]")


def _line_of(node: yaml.Node, field: str) -> int:
    """Return the line of a field, or of the nearest object around it that is there."""
    line = node.start_mark.line + 1
    for part in _PART.findall(field):
        name = part.strip("[]'\"")
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == name), None)
        elif isinstance(node, yaml.SequenceNode):
            value = _item(node, name)
            found = (value, value) if value is not None else None
        if found is None:
            return line
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _item(node: yaml.SequenceNode, name: str) -> yaml.Node | None:
    """Return an item by its number or by its name."""
    index = whole(name)
    if index is not None:
        return node.value[index] if index < len(node.value) else None
    for item in node.value:
        if isinstance(item, yaml.MappingNode) and any(
            k.value == "name" and v.value == name for k, v in item.value
        ):
            return item
    return None


class _TooLargeError(yaml.MarkedYAMLError):
    """A document goes on where no job does."""


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: no dates, no numbers in base 60, nothing said twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._values = 0

    def compose_document(self) -> yaml.Node | None:
        self._values = 0
        return super().compose_document()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._values += 1
        # Here, since all that follows calls itself for each level.
        if self._depth > DEPTH_MAX or self._values > VALUES_MAX:
            mark = self.get_mark()
            raise _TooLargeError(None, None, "too large for a job; write fewer values and levels", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Return a number; Python refuses those of very many digits."""
        if len(node.value) > DIGITS_MAX:
            problem = f"a number of {len(node.value)} characters; write a shorter one, or quote it"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        is_int = node.tag == "tag:yaml.org,2002:int"
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key that is not a text; quote it", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"{key.value} is there twice, first in line {seen[key.value]}; remove one",
                    key.start_mark,
                )
            seen[key.value] = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                key.tag = "tag:yaml.org,2002:str"  # keys are texts in JSON
        return super().construct_mapping(node, deep=deep)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def _without(tag: str) -> None:
    for first, resolvers in list(_Loader.yaml_implicit_resolvers.items()):
        _Loader.yaml_implicit_resolvers[first] = [item for item in resolvers if item[0] != tag]


_Loader.yaml_implicit_resolvers = dict(yaml.SafeLoader.yaml_implicit_resolvers)
for _tag in ("timestamp", "int", "float"):
    _without(f"tag:yaml.org,2002:{_tag}")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[1-9][0-9_]*|0)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def _code(error: yaml.reader.ReaderError) -> int:
    return error.character if isinstance(error.character, int) else ord(error.character)


def _explain(name: str, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"{name}: not YAML: character {error.position + 1} is U+{_code(error):04X}; remove it"
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"{name}: not YAML: {error}; correct it"
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    problem = error.problem or error.context or "not YAML"
    if isinstance(error, (yaml.constructor.ConstructorError, _TooLargeError)):
        return f"{where}: {problem}"
    if "'\\t'" in problem:
        return f"{where}: a tab; indent with spaces"
    return f"{where}: not YAML: {problem}; check indentation and quotes of this line and the one before"
