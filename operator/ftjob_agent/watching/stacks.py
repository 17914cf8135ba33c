"""The stacks of a rank: asked of its processes by a signal, read, and made comparable.

The hooks register the signal with `faulthandler`, whose handler is written in C and needs no interpreter
lock: it answers while the main thread hangs in a collective, a lock or a system call
(https://docs.python.org/3/library/faulthandler.html). All processes of a rank append to one file, so they
are asked one after the other. What does not answer is asked by py-spy, if there is one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import struct
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Optional, Sequence

from ftjob_agent import linux
from ftjob_agent.ranks.environment import STACKS_SIGNAL
from ftjob_protocol import files
from ftjob_protocol.files import nofollow
from ftjob_protocol.values.digits import whole

ANSWER_SECONDS = 2.0
SETTLED_SECONDS = 0.2
RANK_SECONDS = 8.0
PY_SPY_SECONDS = 5.0
PROCESSES = 64
TEXT_LIMIT = 1 << 20
FRAMES = 12
SOURCE_LIMIT = 1 << 22

_THREAD = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+.*\(most recent call first\):$")
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d{1,9}|\?\?\?) in (?P<function>.*)$')
_SPY_THREAD = re.compile(r"^Thread \S+ \(.*\)(?:: \"(?P<name>.*)\")?$")
_SPY_FRAME = re.compile(r"^ {4}(?P<function>.*) \((?P<file>.*):(?P<line>\d{1,9})\)$")
_LIBRARY = re.compile(r"(?:^|.*/)(?:(?:site|dist)-packages|lib(?:64)?/python\d[\d.]*)/(.*)")
_BETWEEN = re.compile(r"^<frozen |/ftjob_hooks/")
"""Python's import machinery and our own wrappers, which tell nobody anything."""
_WAITS = re.compile(
    # torch.distributed, Horovod, JAX, MPI by their functions; what the frameworks' loops block in by theirs.
    r"all_?reduce|reduce_scatter|all_?gather|all_?to_?all|broadcast|barrier|synchronize|rendezvous"
    r"|init_process_group|_engine_run_backward|quick_execute|wait_for_peers|\bjoin \(horovod"
)
_WAITS_DEPTH = 5


@dataclass(frozen=True)
class Frame:
    """One line of a stack."""

    file: str
    line: str
    function: str

    @property
    def is_library(self) -> bool:
        """Whether the code is not the user's."""
        return _LIBRARY.match(self.file) is not None

    def __str__(self) -> str:
        library = _LIBRARY.match(self.file)
        name = library[1] if library else "/".join(self.file.split("/")[-2:])
        return f"{self.function} ({name}:{self.line})"[-160:]


@dataclass(frozen=True)
class Process:
    """One process of a rank: its main thread's frames, innermost first, and all that it said."""

    pid: int
    what: str
    frames: tuple[Frame, ...]
    text: str


def summary(rank: int, step: Optional[int], processes: Sequence[Process], trainer: int) -> dict[str, Any]:
    """Return what the leader is told of one rank.

    Parameters
    ----------
    trainer
        The process that trains; of those with a stack the first if it has none.
    """
    with_stack = [process for process in processes if process.frames]
    chosen = next((process for process in with_stack if process.pid == trainer), None)
    chosen = chosen or next(iter(with_stack), None)
    told: dict[str, Any] = {"rank": rank, "step": step}
    if chosen is None:
        what = processes[0].what if processes else "it has ended"
        return {
            **told,
            "key": f"no Python stack: {_without_numbers(what)}",
            "where": f"no Python stack: {what}",
        }
    frames = chosen.frames
    exact = "\n".join(f"{frame.file}:{frame.line}:{frame.function}" for frame in frames)
    shown = [frame for frame in frames if not _BETWEEN.search(frame.file)] or frames
    return {
        **told,
        "key": hashlib.sha256(exact.encode("utf-8", "replace")).hexdigest()[:16],
        "where": _where(shown),
        "frames": [str(frame) for frame in shown[:FRAMES]],
        "waits": any(_WAITS.search(str(frame)) for frame in shown[:_WAITS_DEPTH]),
    }


def parse(text: str) -> tuple[Frame, ...]:
    """Return the main thread's frames from what faulthandler wrote, innermost first.

    The main thread comes last, since the newest thread comes first; of more than a hundred threads the oldest
    are left out (Python/traceback.c), and then it is the one that got the signal.
    """
    threads: list[list[Frame]] = []
    current: Optional[list[Frame]] = None
    is_cut = False
    for line in text.splitlines():
        if _THREAD.match(line):
            threads.append([])
            if line.startswith("Current"):
                current = threads[-1]
        elif line == "...":
            is_cut = True
        else:
            found = _FRAME.match(line)
            if found and threads:
                threads[-1].append(Frame(found["file"], found["line"], found["function"]))
    chosen = current if is_cut and current is not None else threads[-1] if threads else []
    return tuple(chosen)


def parse_py_spy(text: str) -> tuple[Frame, ...]:
    """Return the main thread's frames from what ``py-spy dump`` printed."""
    threads: list[tuple[str, list[Frame]]] = []
    for line in text.splitlines():
        head = _SPY_THREAD.match(line)
        if head:
            threads.append((head["name"] or "", []))
            continue
        found = _SPY_FRAME.match(line)
        if found and threads:
            threads[-1][1].append(Frame(found["file"], found["line"], found["function"]))
    named = [frames for name, frames in threads if name == "MainThread"]
    return tuple((named or [frames for _, frames in threads[:1]] or [[]])[0])


def collect(rank_dir: str, pid: int, py_spy: Optional[str]) -> list[Process]:
    """Ask the processes of a rank, its first one first; takes seconds."""
    deadline = time.monotonic() + RANK_SECONDS
    found = []
    for each in linux.descendants(pid, linux.children())[:PROCESSES]:
        what = describe(each)
        if not what:
            continue
        text = _ask(rank_dir, each) if time.monotonic() < deadline else ""
        frames = parse(text)
        if not frames and py_spy and _is_python(each) and time.monotonic() < deadline:
            text = _spy(py_spy, each)
            frames = parse_py_spy(text)
        found.append(Process(each, what, frames, text))
    return found


def trainer_of(rank_dir: str, default: int) -> int:
    """Return the process that holds the lock on the step count: the one that trains."""
    lock = struct.Struct("hhqqi4x")  # struct flock of fcntl(2) where off_t has 64 bits
    try:
        with os.fdopen(nofollow.open_regular(os.path.join(rank_dir, files.STEPS)), "rb") as file:
            asked = lock.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = lock.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except OSError:
        return default
    return default if kind == fcntl.F_UNLCK else int(pid)


def find_py_spy(path: str, outputs: str) -> Optional[str]:
    """Return py-spy from the image; never from the outputs, where others may have put it."""
    for place in path.split(os.pathsep):
        found = shutil.which("py-spy", path=place) if os.path.isabs(place) else None
        if found and not _is_within(found, outputs):
            return found
    return None


def _is_within(path: str, folder: str) -> bool:
    real = os.path.realpath(folder)
    return bool(folder) and os.path.commonpath([os.path.realpath(path), real]) == real


def text_of(rank: int, processes: Sequence[Process]) -> str:
    """Return all that is known of a rank, for people."""
    parts = [f"rank {rank}\n"]
    parts += [
        f"\nprocess {each.pid}: {each.what}\n{each.text or '(it gave no Python stack)'}\n"
        for each in processes
    ]
    return "".join(parts)[:TEXT_LIMIT]


def describe(pid: int) -> str:
    """Return a process's command and state in one line; nothing when it has ended."""
    fields = _status(pid)
    state = fields.get("State", "")
    if not state or state[:1] in "ZX":
        return ""
    command = (linux.read_text(f"/proc/{pid}/cmdline") or "").replace("\0", " ").strip()
    command = "".join(ch for ch in command if ch.isprintable())[:100]
    where = (linux.read_text(f"/proc/{pid}/wchan") or "").strip("0\n")
    return f"{command or fields.get('Name', '?')}, state {state}" + (f" in {where}" if where else "")


def _ask(rank_dir: str, pid: int) -> str:
    """Send the signal, if the process takes it well, and return the answer."""
    path = os.path.join(rank_dir, files.STACKS)
    try:
        if not _answers(pid, path):
            return ""
        before = nofollow.size(path) or 0
        os.kill(pid, STACKS_SIGNAL)
        size, since = before, time.monotonic()
        while True:
            time.sleep(0.02)
            now = time.monotonic()
            grown = nofollow.size(path) or 0
            if grown != size:
                size, since = grown, now
            elif now - since >= (SETTLED_SECONDS if size > before else ANSWER_SECONDS):
                break
        return nofollow.read(path, min(max(0, size - before), TEXT_LIMIT), before).decode("utf-8", "replace")
    except OSError:
        return ""  # it has ended, or is another user's


def _answers(pid: int, path: str) -> bool:
    """Whether a process has our handler: a signal that nobody catches would kill it.

    A program may have closed the file, or a child may have kept the file and lost the handler.
    """
    caught = int(_status(pid).get("SigCgt", "0"), 16)
    if not caught >> (STACKS_SIGNAL - 1) & 1:
        return False
    target = os.lstat(path)
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found = os.stat(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue  # closed meanwhile
        if (found.st_dev, found.st_ino) == (target.st_dev, target.st_ino):
            return True
    return False


def _spy(program: str, pid: int) -> str:
    command = [program, "dump", "--full-filenames", "--pid", str(pid)]
    try:
        done = subprocess.run(  # the agent's loop may reap it first, which subprocess takes for an end
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PY_SPY_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def _is_python(pid: int) -> bool:
    maps = linux.read_text(f"/proc/{pid}/maps") or ""
    return "python" in maps


def _status(pid: int) -> dict[str, str]:
    lines = (linux.read_text(f"/proc/{pid}/status") or "").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _where(frames: Sequence[Frame]) -> str:
    """Return where a stack is: its innermost frame, and the user's line that led there."""
    innermost = frames[0]
    user = next((frame for frame in frames if not frame.is_library), innermost)
    code = _code(user)
    said = str(user) + (f": {code}" if code else "")
    return said if user is innermost else f"{innermost} from {said}"


def _code(frame: Frame) -> str:
    """Return the line itself, if the agent sees the file."""
    number = whole(frame.line) or 0
    if number == 0 or not frame.file.startswith("/"):
        return ""
    try:
        source = nofollow.read(frame.file, SOURCE_LIMIT, follow=True)
    except (OSError, ValueError):
        return ""
    lines = source.decode("utf-8", "replace").split("\n", number)
    line = " ".join(lines[number - 1].split()) if number <= len(lines) else ""
    return line if len(line) <= 100 else f"{line[:99]}…"


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "0", text)
