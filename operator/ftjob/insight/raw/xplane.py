"""xplane files of TensorFlow's and JAX' profiler.

Read by a descriptor of the few fields that are needed, and a thousand events at a time: the message of a
whole file would take several times its size. The fields' numbers are
those of tsl/profiler/protobuf/xplane.proto.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ftjob.insight.raw.trace import COLLECTIVES, BrokenTraceError, Call, Slices, Step, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TF_OPERATOR = re.compile(r"[^:]*:(?P<kind>_?[A-Z][A-Za-z0-9_]*)")
_HLO_NUMBER = re.compile(r"(\.[0-9]+|\.clone|\.remat)+$")
_COLLECTIVE = re.compile(
    r"Collective(?!.*(Init|Assign))|Horovod|Nccl(All|Reduce)|all-(reduce|gather|to-all)|reduce-scatter"
    r"|collective-(permute|broadcast)",
    re.IGNORECASE,
)
_STREAM = re.compile(r"Stream #|XLA Ops$|XLA Ops:")
_BATCH = 1000
_ABSOLUTE_NS = 10**17
FARTHEST = 1e16
_LONGEST = 1e11


def _message() -> Any:
    types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="ftjob/xplane.proto", package="ftjob.xplane", syntax="proto3"
    )

    def message(title: str, /, **fields: tuple[int, int, str]) -> None:
        made = file.message_type.add(name=title)
        for field, (number, kind, of) in fields.items():
            is_many = kind == types.TYPE_MESSAGE and field.endswith("s")
            label = types.LABEL_REPEATED if is_many else types.LABEL_OPTIONAL
            made.field.add(name=field, number=number, type=kind, label=label, type_name=of or None)

    whole, natural = types.TYPE_INT64, types.TYPE_UINT64
    message(
        "Stat",
        metadata_id=(1, whole, ""),
        uint64=(3, natural, ""),
        int64=(4, whole, ""),
        ref=(7, natural, ""),
    )
    message(
        "Event",
        metadata_id=(1, whole, ""),
        offset_ps=(2, whole, ""),
        duration_ps=(3, whole, ""),
        stats=(4, types.TYPE_MESSAGE, ".ftjob.xplane.Stat"),
    )
    message("Named", id=(1, whole, ""), name=(2, types.TYPE_BYTES, ""))
    message("Entry", key=(1, whole, ""), value=(2, types.TYPE_MESSAGE, ".ftjob.xplane.Named"))
    message(
        "Line",
        id=(1, whole, ""),
        name=(2, types.TYPE_BYTES, ""),
        timestamp_ns=(3, whole, ""),
        events=(4, types.TYPE_MESSAGE, ".ftjob.xplane.Event"),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"ftjob.xplane.{name}"))
        for name in ("Stat", "Entry", "Line")
    }


_MESSAGES = _message()
_STAT, _ENTRY, _LINE = _MESSAGES["Stat"], _MESSAGES["Entry"], _MESSAGES["Line"]


class Found(NamedTuple):
    """One event with its names; times in microseconds."""

    device: str
    """Its plane, of a device; empty: the host."""
    thread: str
    name: str
    start: float
    end: float
    stats: Mapping[str, int]


def read(data: bytes | bytearray) -> Trace:
    """Return what is kept of a trace.

    Raises
    ------
    BrokenTraceError
        It can't be read, or its times can't be.
    """
    steps: dict[int, Step] = {}
    host, device = Slices(), Slices()
    calls: list[Call] = []
    seen = dropped = 0
    is_jax = False
    origin, found = events(data)
    for event in found:
        if not (0 <= event.start < FARTHEST and 0 <= event.end - event.start < _LONGEST):
            dropped += 1
            continue
        seen += 1
        if "step_num" in event.stats and not event.device:
            number = event.stats["step_num"]
            steps[number] = Step(number, event.start, event.end)
            continue
        name = operator(event)
        if not name:
            continue
        is_jax = is_jax or "hlo_op" in event.stats
        if _COLLECTIVE.search(name):
            calls.append(Call(_operation(name), "", None, event.start, event.end, 0))
        elif event.device:
            device.add((event.device, event.thread), name, event.start, event.end)
        else:
            host.add(event.thread, name, event.start, event.end)
    if dropped > max(8, (dropped + seen) // 100):
        raise BrokenTraceError(f"{dropped} of {dropped + seen} events have times that can't be")
    if not seen:
        raise BrokenTraceError("there is no event in it")
    best = device if len(device) else host
    return Trace(
        framework="jax" if is_jax else "tensorflow",
        origin_ns=origin,
        steps=tuple(sorted(steps.values(), key=lambda step: step.start)),
        compute=best.covered(),
        inputs=(),
        sees_input=False,
        calls=tuple(sorted(calls, key=lambda call: call.start)[:COLLECTIVES]),
        operators=best.operators(),
        kernels=len(device),
        kernel_us=device.median(),
        dropped=dropped,
    )


def operator(event: Found) -> str:
    """Return the kind of an operator; empty for what is none: TensorFlow's own bookkeeping."""
    if event.device:
        return _HLO_NUMBER.sub("", event.name) if _STREAM.search(event.thread) else ""
    if "hlo_op" in event.stats:
        return _HLO_NUMBER.sub("", event.name)
    match = _TF_OPERATOR.fullmatch(event.name)
    return match["kind"] if match else ""


def _operation(name: str) -> str:
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_")
    for word in ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "permute", "all_to_all"):
        if word in plain or word.replace("_", "") in plain.replace("_", ""):
            return word
    return "all_reduce" if "reduce" in plain else plain[:80]


def events(data: bytes | bytearray) -> tuple[int, Iterator[Found]]:
    """Return which time 0 stands for, and the events one by one.

    Raises
    ------
    BrokenTraceError
        It is cut off, or no such file.
    """
    view = memoryview(data)
    try:
        planes = [_Plane(view[start:end]) for number, start, end in _fields(view) if number == 1]
        origin = next((plane.started for plane in planes if plane.started), 0)
    except (DecodeError, _CutError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise _broken(error) from None
    return origin, _each(planes, origin)


def _each(planes: list[_Plane], origin: int) -> Iterator[Found]:
    try:
        for plane in planes:
            yield from plane.events(origin)
    except (DecodeError, _CutError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise _broken(error) from None


def _broken(error: Exception) -> BrokenTraceError:
    return BrokenTraceError(
        "the xplane file is cut off" if isinstance(error, _CutError) else "it is no xplane file, or damaged"
    )


class _CutError(Exception):
    """The data end within a field."""


class _Plane:
    def __init__(self, view: memoryview) -> None:
        self._lines = []
        self.name, self.started = "", 0
        self._names: dict[int, str] = {}
        self._stats: dict[int, str] = {}
        stats = []
        for number, start, end in _fields(view):
            part = view[start:end]
            if number == 2:
                self.name = _text(bytes(part))
            elif number == 3:
                self._lines.append(part)
            elif number in {4, 5}:
                entry = _ENTRY.FromString(bytes(part))
                names = self._names if number == 4 else self._stats
                names[entry.key] = _text(entry.value.name)
            elif number == 6:
                stats.append(_STAT.FromString(bytes(part)))
        for stat in stats:
            if self._stats.get(stat.metadata_id) == "profile_start_time":
                self.started = stat.uint64

    def events(self, origin: int) -> Iterator[Found]:
        device = self.name if self.name.startswith("/device:") else ""
        if not device and not self.name.startswith("/host:"):
            return
        for line in self._lines:
            yield from self._line(line, device, origin)

    def _line(self, view: memoryview, device: str, origin: int) -> Iterator[Found]:
        head, spans = bytearray(), []
        for number, _, end, begin in _spans(view):
            if number == 4:
                spans.append((begin, end))
            else:
                head += view[begin:end]
        line = _LINE.FromString(bytes(head))
        thread, zero = f"{_text(line.name)}/{line.id}", line.timestamp_ns
        if zero >= _ABSOLUTE_NS:
            zero -= origin
        for first in range(0, len(spans), _BATCH):
            batch = spans[first : first + _BATCH]
            data = b"".join(bytes(view[begin:end]) for begin, end in batch)
            for event in _LINE.FromString(data).events:
                start = zero / 1e3 + event.offset_ps / 1e6
                stats = {
                    self._stats.get(stat.metadata_id, ""): stat.int64 or stat.uint64 for stat in event.stats
                }
                name = self._names.get(event.metadata_id, "")
                yield Found(device, thread, name, start, start + event.duration_ps / 1e6, stats)


def _fields(view: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield number, begin and end of the values that have a length."""
    for number, start, end, _ in _spans(view):
        if start >= 0:
            yield number, start, end


def _spans(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Yield each field's number, begin (-1: it has no length) and end of its value, and its own begin."""
    at, size = 0, len(view)
    while at < size:
        begin = at
        tag, at = _varint(view, at)
        kind = tag & 7
        start = -1
        if kind == 0:
            _, at = _varint(view, at)
        elif kind == 2:
            length, start = _varint(view, at)
            at = start + length
        elif kind in {1, 5}:
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("a group, or no protobuf")
        if at > size:
            raise _CutError
        yield tag >> 3, start, at, begin


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view):
            raise _CutError
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("no number")


def _text(data: bytes) -> str:
    return data[:400].decode("utf-8", "replace")
