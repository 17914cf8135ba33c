"""Where a program that profiles itself puts what it finds: what ftjob's collector and TensorBoard read.

Traces go to ``captures/<id>/raw/rank-00000``, complete as soon as there is a ``done.json`` beside them;
samples of processor, memory and GPUs go to ``system/rank-00000.jsonl``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from types import ModuleType, TracebackType


@dataclass(frozen=True)
class Place:
    """A job's outputs, as one rank sees them."""

    outputs: Path
    rank: int

    @property
    def worker(self) -> str:
        """The rank's name in paths."""
        return f"rank-{self.rank:05d}"

    def begin(self, capture: str, steps: int) -> Path:
        """Say what is going to be captured, and return an empty folder to write it to."""
        top = _folder(self.outputs, "captures", capture)
        request = {
            "version": 1,
            "id": capture,
            "attempt": int(os.environ.get("FTJOB_ATTEMPT", "0")),
            "mode": "Script",
            "schedule": {"skipFirst": 0, "wait": 0, "warmup": 2, "active": steps, "repeat": 1},
            "tools": ["Framework", "System"],
            "options": {"shapes": True, "memory": False, "stacks": False},
            "ranks": list(range(int(os.environ.get("FTJOB_WORLD_SIZE", "1")))),
        }
        if not (top / "request.json").exists():
            _write_json(top / "request.json", request)
        folder = _folder(top, "raw", f".{self.worker}.tmp")
        for old in folder.iterdir():  # of a run that was broken off
            old.unlink()
        return folder

    def publish(self, capture: str, first: int, last: int) -> list[str]:
        """Move the files of `begin`'s folder to their names, the mark that they are complete last.

        Parameters
        ----------
        capture
            Its id.
        first, last
            Steps that were captured, counted from 1.

        Returns
        -------
        list of str
            The files' names.
        """
        raw = self.outputs / "captures" / capture / "raw"
        target, folder = _folder(raw, self.worker), raw / f".{self.worker}.tmp"
        for old in target.iterdir():
            old.unlink()
        files = sorted(file.name for file in folder.iterdir())
        for name in files:
            (folder / name).chmod(0o644)
            (folder / name).replace(target / name)
            if name.endswith(".xplane.pb"):
                profile = _folder(self.outputs, "plugins", "profile", capture) / f"{self.worker}.xplane.pb"
                shutil.copyfile(target / name, profile.with_suffix(".tmp"))
                profile.with_suffix(".tmp").replace(profile)
        folder.rmdir()
        done = {"rank": self.rank, "firstStep": first, "lastStep": last, "files": files}
        _write_json(target / "done.json", done)
        self._tell_agent(capture)
        return files

    @staticmethod
    def _tell_agent(capture: str) -> None:
        """Let the job's status count the capture: the agent does not look for it in the volume."""
        folder = os.environ.get("FTJOB_RANK_DIR")
        if folder:
            path = Path(folder) / "captured.json"
            known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
            _write_json(path, [*known, capture])


class Samples(threading.Thread):
    """Samples this process, its children and the GPUs, as long as the ``with`` block lasts.

    If ftjob's agent samples already, nothing is written: two would count everything twice.
    """

    def __init__(self, place: Place, seconds: float = 1.0) -> None:
        super().__init__(name="samples", daemon=True)
        self.seconds = seconds
        self.taken = 0
        self.peak_bytes = 0
        self._process = psutil.Process()
        self._file = _folder(place.outputs, "system") / f"{place.worker}.jsonl"
        self._gpus = _Gpus()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Append a line every so many seconds."""
        agent = self._file.exists() and self._file.stat().st_mtime >= self._process.create_time()
        while True:
            line = self._take()
            self.taken += 1
            self.peak_bytes = max(self.peak_bytes, line["rssBytes"])
            if not agent:
                with self._file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(line) + "\n")
            if self._ended.wait(self.seconds):
                return

    def _take(self) -> dict[str, Any]:
        line: dict[str, Any] = {"timeNs": time.time_ns()} | dict.fromkeys(
            ("cpuSeconds", "rssBytes", "threads", "readBytes", "writeBytes"), 0
        )
        for process in [self._process, *self._process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error), process.oneshot():  # a child may be gone by now
                cpu, io = process.cpu_times(), process.io_counters()
                line["cpuSeconds"] += cpu.user + cpu.system
                line["rssBytes"] += process.memory_info().rss
                line["threads"] += process.num_threads()
                line["readBytes"] += io.read_bytes
                line["writeBytes"] += io.write_bytes
        gpus = self._gpus.sample()
        line["pod"] = {"gpus": gpus} if gpus else {}  # of the pod itself only the agent knows
        return line


class _Gpus:
    """NVIDIA's management library, by its own binding (nvidia-ml-py) and if there is a driver."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._nvml: ModuleType | None = None
        with contextlib.suppress(ModuleNotFoundError):
            self._nvml = nvml = importlib.import_module("pynvml")
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlInit()
                self._handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]

    def sample(self) -> list[dict[str, Any]]:
        """Return load in percent, bytes of memory and watts of each."""
        nvml: Any = self._nvml
        found = []
        for index, handle in enumerate(self._handles):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            found.append(
                {
                    "index": index,
                    "utilization": nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
                    "memoryBytes": memory.used,
                    "memoryTotalBytes": memory.total,
                    "powerWatts": nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
                }
            )
        return found


def _folder(top: Path, *names: str) -> Path:
    """Make folders with the mode of those that they are in, which the agent has made for all readers."""
    top.mkdir(parents=True, exist_ok=True)
    for name in names:
        mode = stat.S_IMODE(top.stat().st_mode)
        top /= name
        if not top.exists():
            top.mkdir()
            top.chmod(mode)
    return top


def _write_json(path: Path, data: Any) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    fresh.write_text(json.dumps(data), encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(path)
