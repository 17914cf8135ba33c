"""One timeline of a few ranks: Chrome's JSON for Perfetto, written event by event."""

from __future__ import annotations

import gzip
import io
from collections import defaultdict
from typing import IO, TYPE_CHECKING, Any, cast

import msgspec

from ftjob.insight.raw import chrome, horovod, xplane
from ftjob.insight.raw.rank import CHROME
from ftjob.insight.raw.unpack import read
from ftjob.insight.summary import MERGED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ftjob_protocol.files.nofollow import Folder

FILE = "merged.trace.json.gz"
_EMPTY = msgspec.Raw(b"{}")


class _Out(msgspec.Struct, gc=False, omit_defaults=True):
    ph: str
    name: str
    ts: float
    pid: int
    tid: int
    dur: float = 0.0
    cat: str = ""
    id: str = ""
    bp: str = ""
    args: Any = None


class _In(msgspec.Struct, gc=False):
    ph: str = ""
    name: str = ""
    ts: float = -1.0
    dur: float = 0.0
    cat: str = ""
    pid: int | str | float | None = None
    tid: int | str | float | None = None
    id: int | str | None = None
    bp: str = ""
    args: msgspec.Raw = _EMPTY


class Timeline:
    """Writes the events of one rank after the other."""

    def __init__(self, file: IO[bytes], zero_ns: int) -> None:
        """Begin the file; `zero_ns` on the common clock is its time 0."""
        self._zip = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0, filename="")
        self._out = io.BufferedWriter(cast("io.RawIOBase", self._zip), 1 << 20)
        self._zero_ns = zero_ns
        self._encoder = msgspec.json.Encoder()
        self._is_first = True
        self._out.write(b'{"displayTimeUnit":"ms","traceEvents":[\n')

    def close(self) -> None:
        """End the file."""
        self._out.write(b"\n]}\n")
        self._out.flush()
        self._zip.close()

    def add(self, rank: int, folder: Folder, names: Iterable[str], offset_ns: int) -> None:
        """Add a rank's trace, and Horovod's timeline if the rank has it."""
        tracks = _Tracks(rank)
        for name in names:
            if name.endswith(CHROME):
                self._write(tracks, self._chrome(tracks, read(folder, name), offset_ns))
            elif name.endswith(".xplane.pb"):
                self._write(tracks, self._xplane(tracks, read(folder, name), offset_ns))
            elif name == horovod.FILE:
                self._write(tracks, self._horovod(tracks, read(folder, name), offset_ns))

    def _write(self, tracks: _Tracks, events: Iterator[_Out]) -> None:
        encode: Callable[[Any], bytes] = self._encoder.encode
        for event in events:
            for named in (*tracks.new(), event):
                self._out.write(encode(named) if self._is_first else b",\n" + encode(named))
                self._is_first = False

    def _shift(self, origin_ns: int, offset_ns: int) -> float:
        return (origin_ns + offset_ns - self._zero_ns) / 1e3

    def _chrome(self, tracks: _Tracks, data: bytes | bytearray, offset_ns: int) -> Iterator[_Out]:
        file = chrome.parse(data)
        shift = self._shift(file.base, offset_ns)
        decode = msgspec.json.Decoder(_In).decode
        lanes = _Lanes()
        for raw in file.trace_events:
            try:
                event = decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if (
                event.ph not in {"X", "s", "f", "t", "i"}
                or not 0 <= event.ts < chrome.FARTHEST
                or event.dur < 0
            ):
                continue
            ts = round(event.ts + shift, 3)
            pid = tracks.process(str(event.pid)[:80])
            tid = tracks.thread(pid, str(event.tid)[:80])
            if event.ph == "X" and chrome.is_device(event.cat):
                lane = lanes.lane(tid, ts, ts + event.dur)
                tid = tracks.thread(pid, f"{event.tid} ({lane + 1})") if lane else tid
            flow = f"r{tracks.rank}-{event.id}" if event.id is not None else ""
            yield _Out(event.ph, event.name, ts, pid, tid, event.dur, event.cat, flow, event.bp, event.args)

    def _xplane(self, tracks: _Tracks, data: bytes | bytearray, offset_ns: int) -> Iterator[_Out]:
        origin, found = xplane.events(data)
        shift = self._shift(origin, offset_ns)
        lanes = _Lanes()
        for event in found:
            if not 0 <= event.start < xplane.FARTHEST or event.end < event.start:
                continue
            pid = tracks.process(event.device or "host")
            tid = tracks.thread(pid, event.thread)
            start = round(event.start + shift, 3)
            length = round(event.end - event.start, 3)
            if lane := lanes.lane(tid, start, start + length):
                tid = tracks.thread(pid, f"{event.thread} ({lane + 1})")
            yield _Out("X", event.name, start, pid, tid, length, "", "", "", event.stats or None)

    def _horovod(self, tracks: _Tracks, data: bytes | bytearray, offset_ns: int) -> Iterator[_Out]:
        events = horovod.read(data)
        began = next(
            (
                event.args.get("start_time_since_epoch_in_micros")
                for event in events
                if isinstance(event.args, dict) and event.ph == "M" and event.pid == 0
            ),
            None,
        )
        if not isinstance(began, int):
            return
        shift = self._shift(began * 1000, offset_ns)
        names: Mapping[int, Any] = {
            event.pid: event.args.get("name")
            for event in events
            if event.ph == "M" and event.name == "process_name" and isinstance(event.args, dict)
        }
        pid = tracks.process("Horovod's coordinator")
        for event in events:
            if event.ph in {"B", "E", "X", "i"}:
                tid = tracks.thread(pid, str(names.get(event.pid) or event.pid)[:80])
                yield _Out(event.ph, event.name, round(event.ts + shift, 3), pid, tid, event.dur)


class _Tracks:
    """Numbers for processes and threads that no other rank uses, and the events that name them."""

    _RANGE = 1000

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self._processes: dict[str, int] = {}
        self._threads: dict[tuple[int, str], int] = {}
        self._new: list[_Out] = []

    def process(self, name: str) -> int:
        """Return the number of a process."""
        number = self._processes.get(name)
        if number is None:
            number = self.rank * self._RANGE + min(len(self._processes), self._RANGE - 1) + 1
            self._processes[name] = number
            self._new += [
                _Out("M", "process_name", 0, number, 0, args={"name": f"rank {self.rank} · {name}"}),
                _Out("M", "process_sort_index", 0, number, 0, args={"sort_index": number}),
            ]
        return number

    def thread(self, process: int, name: str) -> int:
        """Return the number of a thread."""
        number = self._threads.get((process, name))
        if number is None:
            number = self._threads[process, name] = len(self._threads) + 1
            self._new.append(_Out("M", "thread_name", 0, process, number, args={"name": name}))
        return number

    def new(self) -> list[_Out]:
        """Return what names the numbers that were given out since the last call."""
        found, self._new = self._new, []
        return found


class _Lanes:
    """Lanes for slices that cross others on one track: Perfetto drops those (perfetto#4280)."""

    def __init__(self) -> None:
        self._open: dict[int, list[list[float]]] = defaultdict(lambda: [[]])

    def lane(self, track: int, start: float, end: float) -> int:
        """Return 0 for the track itself, 1 and up for lanes beside it."""
        lanes = self._open[track]
        for number, ends in enumerate(lanes):
            while ends and ends[-1] <= start:
                ends.pop()
            if not ends or end <= ends[-1]:
                ends.append(end)
                return number
        lanes.append([end])
        return len(lanes) - 1


def choose(
    culprits: Iterable[int], read_ranks: Iterable[int], own: Mapping[int, float], nodes: Mapping[int, str]
) -> list[int]:
    """Return the ranks to show: slow ones, the fastest, the first, one of another node."""
    present = sorted(read_ranks)
    if len(present) <= MERGED:
        return present
    chosen = [rank for rank in sorted(culprits) if rank in set(present)][: MERGED - 3]
    wanted = [min(own, key=lambda rank: (own[rank], rank))] if own else []
    wanted.append(present[0])
    known = {nodes.get(rank, "") for rank in [*chosen, *wanted]}
    wanted += [rank for rank in present if nodes.get(rank, "") not in known][:1]
    for rank in (*wanted, *present):
        if rank not in chosen and len(chosen) < MERGED:
            chosen.append(rank)
    return sorted(chosen)
