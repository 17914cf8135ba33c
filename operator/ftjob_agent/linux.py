"""What Linux tells about processes, control groups and interfaces."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import struct
from dataclasses import dataclass
from typing import Any, Iterable, Optional

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UNLIMITED = 1 << 60
"""Version 1 of control groups says the largest whole number of pages."""
_SIOCGIFADDR = 0x8915  # linux/sockios.h


@dataclass(frozen=True)
class Usage:
    """What some processes have used."""

    cpu_seconds: float = 0.0
    rss_bytes: int = 0
    threads: int = 0
    read_bytes: int = 0
    write_bytes: int = 0


def read_text(path: str) -> Optional[str]:
    """Return the text of a small file, or None."""
    try:
        with open(path, "rb") as file:
            return file.read(1 << 16).decode("utf-8", "replace")
    except OSError:
        return None


def _stat(pid: int) -> Optional[list[str]]:
    """Return the fields of ``/proc/<pid>/stat`` from the state on (field 3 of proc(5))."""
    text = read_text(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split() if text else None


def session(pid: int) -> Optional[int]:
    """Return the session of a process; None once it is gone, also if nobody has waited for it yet."""
    fields = _stat(pid)
    return int(fields[3]) if fields and fields[0] not in "ZX" else None


def environment(pid: int) -> list[bytes]:
    """Return the variables that a process was started with; nothing if it is another user's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read(1 << 20).split(b"\0")
    except OSError:
        return []


def waits_for(pid: int, number: int) -> bool:
    """Whether a process does something of its own at a signal: by a handler, or as it waits for it."""
    for line in (read_text(f"/proc/{pid}/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name in {"SigCgt", "SigBlk"} and int(value, 16) >> (number - 1) & 1:
            return True
    return False


def children() -> dict[int, list[int]]:
    """Return the children of every process that is seen."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        fields = _stat(int(name)) if name.isdigit() else None
        if fields:
            found.setdefault(int(fields[1]), []).append(int(name))
    return found


def descendants(pid: int, table: dict[int, list[int]]) -> list[int]:
    """Return a process and all below it."""
    found, open_ = [], [pid]
    while open_:
        found.append(open_.pop())
        open_ += table.get(found[-1], [])
    return found


def usage(pids: Iterable[int], *, with_io: bool = True) -> Usage:
    """Add up what processes, and their children that were waited for, have used."""
    cpu = rss = threads = read = written = 0
    for pid in pids:
        fields = _stat(pid)
        if fields is None:
            continue
        cpu += sum(int(value) for value in fields[11:15])
        threads += int(fields[17])
        rss += int(fields[21]) * _PAGE
        for line in (read_text(f"/proc/{pid}/io") or "").splitlines() if with_io else ():
            name, _, value = line.partition(": ")
            read += int(value) if name == "read_bytes" else 0
            written += int(value) if name == "write_bytes" else 0
    return Usage(cpu / _TICKS, rss, threads, read, written)


def run_delay_seconds(pid: int) -> Optional[float]:
    """Return how long the main thread of a process was ready to run and had no core (proc_pid_schedstat)."""
    fields = (read_text(f"/proc/{pid}/task/{pid}/schedstat") or "").split()
    return int(fields[1]) / 1e9 if len(fields) > 1 and fields[1].isdigit() else None


def graph_threads(pid: int) -> list[int]:
    """Return the threads that run TensorFlow's graphs, its pool and the main thread; none of another program.

    The other threads read ahead, or exchange: Horovod's coordinator uses more the more ranks there are.
    """
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
    named = {each: (read_text(f"/proc/{pid}/task/{each}/comm") or "").strip() for each in threads}
    if "tf_Compute" not in named.values():
        return []
    return [each for each, name in named.items() if each == pid or name.startswith("tf_")]


def threads_seconds(pid: int, threads: Iterable[int]) -> float:
    """Return the CPU time that these threads of a process have used."""
    fields = [(read_text(f"/proc/{pid}/task/{each}/schedstat") or "0").split() for each in threads]
    return sum(int(each[0]) for each in fields) / 1e9


def work(pids: Iterable[int]) -> object:
    """Return what changes when one of these processes uses CPU time, reads or writes, or when one comes."""
    return [(pid, (_stat(pid) or [])[11:15], read_text(f"/proc/{pid}/io")) for pid in sorted(pids)]


class Cgroup:
    """The control group of this container, version 1 or 2."""

    def __init__(self, root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> None:
        paths = {}
        for line in (read_text(membership) or "").splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path))
        self._cpu = self._find(root, paths, "cpuacct", ("cpu.stat",), ("cpuacct.usage",))
        self._memory = self._find(root, paths, "memory", ("memory.current",), ("memory.usage_in_bytes",))
        self._throttled = self._find(root, paths, "cpu", ("cpu.stat",), ("cpu.stat",))
        self._limit = self._find(root, paths, "memory", ("memory.max",), ("memory.limit_in_bytes",))
        self._events = self._find(root, paths, "memory", ("memory.events",), ("memory.oom_control",))

    @staticmethod
    def _find(root: str, paths: dict[str, str], controller: str, v2: Iterable[str], v1: Iterable[str]) -> str:
        """Return the first file that is there; inside a container the group's own path may not be mounted."""
        places = [f"{root}{paths.get('', '/')}/{name}" for name in v2] + [f"{root}/{name}" for name in v2]
        places += [f"{root}/{controller}{paths.get(controller, '/')}/{name}" for name in v1]
        places += [f"{root}/{controller}/{name}" for name in v1]
        return next((place for place in places if os.path.exists(place)), "")

    def sample(self) -> dict[str, Any]:
        """Return CPU seconds and bytes of memory of the container, as far as they are known."""
        found: dict[str, Any] = {}
        cpu = read_text(self._cpu) if self._cpu else None
        if cpu and cpu.split()[0].isdigit():
            found["cpuSeconds"] = int(cpu) / 1e9
        elif cpu:
            found["cpuSeconds"] = _field(cpu, "usage_usec") / 1e6
        memory = read_text(self._memory) if self._memory else None
        if memory and memory.strip().isdigit():
            found["memoryBytes"] = int(memory)
        return found

    def throttled_seconds(self) -> Optional[float]:
        """Return how long the container's CPU limit has held it back; None where it has none.

        At most, where the limit is less than one core: a thread that has used it up waits for the rest of
        the period. The kernel's own count missed most of that on Linux 6.18, which throttles threads singly.
        """
        text = (read_text(self._throttled) if self._throttled else None) or ""
        if "throttled_usec" in text:
            counted = _field(text, "throttled_usec") / 1e6
        elif "throttled_time" in text:
            counted = _field(text, "throttled_time") / 1e9
        else:
            return None
        return max(counted, _field(text, "nr_throttled") * self._idle_seconds())

    def _idle_seconds(self) -> float:
        """Return how much of each period is left when one thread has used the limit up."""
        folder = os.path.dirname(self._throttled)
        words = (read_text(os.path.join(folder, "cpu.max")) or "").split()
        if not words:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            words = [(read_text(os.path.join(folder, name)) or "").strip() for name in names]
        if len(words) != 2 or not all(word.isdigit() for word in words):
            return 0.0
        quota, period = map(int, words)
        return max(0, period - quota) / 1e6

    def memory_limit(self) -> Optional[int]:
        """Return the bytes of memory that the container may use; None where it has no limit."""
        text = ((read_text(self._limit) if self._limit else None) or "").strip()
        return int(text) if text.isdigit() and int(text) < _UNLIMITED else None

    def oom_kills(self) -> int:
        """Return how often the kernel has killed a process of the container for want of memory."""
        return _field(read_text(self._events) or "" if self._events else "", "oom_kill")


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return 0


def is_loopback(address: str) -> bool:
    """Whether an address never leaves this host."""
    return address.startswith("127.") or address in {"::1", "localhost"}


def interface_of(local: str, remote: str) -> str:
    """Return the interface that has a local address, or else the one of the route to a remote one."""
    if is_loopback(local):
        return "lo"
    found = _interface_v6(local) if ":" in local else _interface_v4(local)
    return found or _route_v4(remote) or "lo"


def _interface_v4(address: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                reply = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has no address
            if socket.inet_ntoa(reply[20:24]) == address:
                return name
    return ""


def _interface_v6(address: str) -> str:
    wanted = socket.inet_pton(socket.AF_INET6, address.partition("%")[0]).hex()
    for line in (read_text("/proc/net/if_inet6") or "").splitlines():
        fields = line.split()
        if fields[0] == wanted:
            return fields[5]
    return ""


def _route_v4(remote: str) -> str:
    try:
        (target,) = struct.unpack("<I", socket.inet_aton(remote))
    except OSError:
        return ""
    best, name = -1, ""  # of network masks, the larger number is the longer one
    for line in (read_text("/proc/net/route") or "").splitlines()[1:]:
        fields = line.split()
        network, mask = int(fields[1], 16), int(fields[7], 16)
        length = socket.ntohl(mask)
        if target & mask == network and length > best:
            best, name = length, fields[0]
    return name


def allow_files(count: int) -> None:
    """Raise the limit of open files if a large job needs more than the usual 1024; ranks inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
