"""Traces of torch's profiler (Kineto): Chrome's JSON, gzipped."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import msgspec

from ftjob.insight.intervals import union
from ftjob.insight.raw.trace import COLLECTIVES, BrokenTraceError, Call, Slices, Step, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = re.compile(r"ProfilerStep#([0-9]{1,18})")
_INPUT = "enumerate(DataLoader)#"
_DEVICE = {"kernel", "gpu_memcpy", "gpu_memset", "concurrent_kernel"}
_BACKENDS = ("gloo:", "nccl:", "ucc:", "mpi:", "xccl:", "hccl:")
_BYTES = {
    "Float": 4,
    "Half": 2,
    "BFloat16": 2,
    "Double": 8,
    "Int": 4,
    "Long": 8,
    "Short": 2,
    "Char": 1,
    "Byte": 1,
    "Bool": 1,
}
_SIZES = {
    "float": 4,
    "double": 8,
    "c10::Half": 2,
    "c10::BFloat16": 2,
    "long int": 8,
    "int": 4,
    "unsigned char": 1,
    "bool": 1,
}
FARTHEST = 1e16
"""Microseconds since the trace's own zero: three centuries."""
_LONGEST = 1e11
_MOST_DROPPED = 0.01


class Arguments(msgspec.Struct, gc=False):
    """What is read of an event's arguments."""

    collective: Any = msgspec.field(name="Collective name", default=None)
    group: Any = msgspec.field(name="Process Group Name", default=None)
    sequence: Any = msgspec.field(name="Seq", default=None)
    elements: Any = msgspec.field(name="In msg nelems", default=None)
    dtype: Any = msgspec.field(name="dtype", default=None)
    shapes: Any = msgspec.field(name="Input Dims", default=None)
    types: Any = msgspec.field(name="Input type", default=None)


class Event(msgspec.Struct, gc=False):
    """One event. What has no type here may be of any."""

    ph: Any = None
    name: Any = ""
    cat: Any = None
    ts: Any = None
    dur: Any = None
    pid: Any = None
    tid: Any = None
    args: Any = None


class File(msgspec.Struct):
    """The whole file; events one by one, so that they need no memory all at once."""

    trace_events: list[msgspec.Raw] = msgspec.field(name="traceEvents")
    base: int = msgspec.field(name="baseTimeNanoseconds", default=0)


class _Typed(msgspec.Struct, gc=False):
    ph: str = ""
    name: str = ""
    cat: str = ""
    ts: float = 0.0
    dur: float = 0.0
    pid: int | str | float | None = None
    tid: int | str | float | None = None
    args: msgspec.Raw = msgspec.Raw()


_file = msgspec.json.Decoder(File)
_event = msgspec.json.Decoder(_Typed)
_arguments = msgspec.json.Decoder(Arguments)


def is_device(category: str) -> bool:
    """Whether a slice of this category ran on a device."""
    return category in _DEVICE


def parse(data: bytes | bytearray) -> File:
    """Read the file, but for what is inside of its events.

    Raises
    ------
    BrokenTraceError
        It is cut off, or no such trace.
    """
    try:
        return _file.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = str(error)
        why = "the JSON is cut off" if "truncated" in text else f"the JSON is damaged: {text}"
        raise BrokenTraceError(why) from None


def read(data: bytes | bytearray) -> Trace:
    """Return what is kept of a trace.

    Raises
    ------
    BrokenTraceError
        It can't be read, or its times can't be.
    """
    file = parse(data)
    reader = _Reader()
    for event in events(file, reader):
        reader.take(event)
    return reader.done(file.base)


def events(file: File, reader: _Reader) -> Iterator[_Typed]:
    """Yield the complete slices of a file whose times can be."""
    for raw in file.trace_events:
        try:
            event = _event.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            reader.dropped += 1
            continue
        if event.ph != "X":
            continue
        if 0 <= event.ts < FARTHEST and 0 <= event.dur < _LONGEST:
            yield event
        else:
            reader.dropped += 1


class _Reader:
    def __init__(self) -> None:
        self.dropped = 0
        self._taken = 0
        self._steps: dict[int, Step] = {}
        self._calls: list[Call] = []
        self._parameters: list[tuple[float, float, Arguments]] = []
        self._waits: list[tuple[str, float, float, Arguments]] = []
        self._inputs: list[tuple[float, float]] = []
        self._operators = Slices()
        self._leaves: list[tuple[float, float]] = []
        self._kernels = Slices()

    def take(self, event: _Typed) -> None:
        self._taken += 1
        if event.name.startswith("aten::") and event.cat == "cpu_op":  # by far the most
            self._take_leaf(event)
            return
        name, start, end = event.name, event.ts, event.ts + event.dur
        if event.cat in _DEVICE:
            call = self._call(event, name) if event.cat != "gpu_memset" else None
            if call is not None:
                self._calls.append(call)
            else:
                self._kernels.add((event.pid, event.tid), name, start, end)
            return
        if event.cat in {"user_annotation", "cpu_op"}:
            if found := STEP.fullmatch(name):
                self._steps[int(found[1])] = Step(int(found[1]), start, end)
                return
            if name.startswith(_INPUT):
                self._inputs.append((start, end))
            elif name.startswith(_BACKENDS):
                self._waits.append((name, start, end, self._read(event)))
                return
            elif name == "record_param_comms":
                self._parameters.append((start, end, self._read(event)))
                return
        if event.cat == "cpu_op":
            self._operators.add((event.pid, event.tid), name, start, end)

    def _take_leaf(self, event: _Typed) -> None:
        start, end = event.ts, event.ts + event.dur
        self._operators.add((event.pid, event.tid), event.name, start, end)
        before = self._leaves[-1] if self._leaves else (0.0, -1.0)
        if start < before[0] or end > before[1]:  # else it is inside of that one
            self._leaves.append((start, end))

    def _read(self, event: _Typed) -> Arguments:
        try:
            return _arguments.decode(event.args)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Arguments()

    def _call(self, event: _Typed, name: str) -> Call | None:
        """Read a kernel that is a collective: by its arguments, since NCCL has renamed its kernels before."""
        if b"Collective name" not in bytes(event.args):
            if not name.startswith("nccl"):
                return None
            return Call(name.split("(", maxsplit=1)[0], "", None, event.ts, event.ts + event.dur, 0)
        return _named(self._read(event), name, event.ts, event.ts + event.dur)

    def done(self, base: int) -> Trace:
        """Return what has come together."""
        if self.dropped > max(8, (self.dropped + self._taken) * _MOST_DROPPED):
            raise BrokenTraceError(
                f"{self.dropped} of {self.dropped + self._taken} events have times that can't be"
            )
        if not self._taken:
            raise BrokenTraceError("there is no event in it")
        calls = sorted(self._calls or self._host_calls(), key=lambda call: call.start)
        is_device = len(self._kernels) > 0
        return Trace(
            framework="torch",
            origin_ns=base,
            steps=tuple(sorted(self._steps.values(), key=lambda step: step.start)),
            compute=self._kernels.covered() if is_device else union(self._leaves),
            inputs=union(self._inputs),
            sees_input=bool(self._inputs),
            calls=tuple(calls[:COLLECTIVES]),
            operators=(self._kernels if is_device else self._operators).operators(),
            kernels=len(self._kernels),
            kernel_us=self._kernels.median(),
            dropped=self.dropped,
        )

    def _host_calls(self) -> list[Call]:
        """Return the collectives of a CPU: when they ran, with the parameters of the call before."""
        told: dict[str, list[tuple[float, Arguments]]] = {}
        for begun, _, parameters in sorted(self._parameters, key=lambda found: -found[0]):
            told.setdefault(_operation(str(parameters.collective or "")), []).append((begun, parameters))
        found = []
        for name, start, end, own in sorted(self._waits, key=lambda wait: wait[1]):
            operation = name.partition(":")[2]
            before = told.get(_operation(operation), [])
            arguments = before.pop()[1] if before and before[-1][0] <= start else own
            found.append(_named(arguments, operation, start, end))
        return found


def _named(arguments: Arguments, name: str, start: float, end: float) -> Call:
    sequence = arguments.sequence if isinstance(arguments.sequence, int) else None
    elements = arguments.elements if isinstance(arguments.elements, int) else 0
    size = max(0, elements) * _BYTES.get(str(arguments.dtype), 0) or _size(arguments)
    operation = _operation(str(arguments.collective or name))
    group = str(arguments.group) if arguments.group is not None else ""
    return Call(operation[:80], group[:80], sequence, start, end, min(size, 1 << 60))


def _size(arguments: Arguments) -> int:
    """Return the bytes of an operator's inputs, from their shapes."""
    total = 0
    shapes, types = arguments.shapes, arguments.types
    if not isinstance(shapes, list) or not isinstance(types, list):
        return 0
    for shape, kind in zip(shapes, types, strict=False):
        if isinstance(shape, list) and shape and all(isinstance(side, int) and side >= 0 for side in shape):
            total += math.prod(shape) * _SIZES.get(str(kind), 0)
    return total


def _operation(name: str) -> str:
    """Return one word for one operation: ``allreduce`` and ``all_reduce`` are the same."""
    plain = name.lower().lstrip("_").removesuffix("_coalesced")
    words = {
        "allreduce": "all_reduce",
        "allgather": "all_gather",
        "alltoall": "all_to_all",
        "reducescatter": "reduce_scatter",
    }
    return words.get(plain.replace("_", ""), plain)
