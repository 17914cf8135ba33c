"""Scheduled captures of one rank: when, into which folder, and how the files get their names."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import threading
from typing import TYPE_CHECKING, Any, List, Mapping, Optional

from .. import json_file, notes
from ..clock import recorder
from ..protocol import ACTIVE, WAIT, WARM, Done, Profile, Schedule, Windows, clock, files, nofollow, variables
from . import horovod_timeline, python_profilers

if TYPE_CHECKING:
    from .tracer import Tracer

_PATIENCE = 5.0


def scheduled() -> Optional[Captures]:
    """Make what the environment asks for; None if it asks for no profile of the framework."""
    text = os.environ.get(variables.PROFILE)
    if not text:
        return None
    profile = Profile.read(json.loads(text))
    if "Framework" not in profile.wanted.tools or not profile.wanted.schedule:
        return None
    return Captures(profile, int(os.environ.get(variables.RANK, "0")))


class Captures:
    """All scheduled captures of this rank, one after the other."""

    def __init__(self, profile: Profile, rank: int) -> None:
        self._schedule = Schedule(Windows.read(profile.wanted.schedule))
        self._profile = profile
        self._rank = rank
        self._rank_name = files.rank_name(rank)
        self._tracer: Optional[Tracer] = None
        self._timeline: Any = None
        self._broken = False
        self._lock = threading.RLock()
        self._at_work = 0  # the thread in which calls of the profiler are our own, not the script's
        self._asked = False  # whether the script wants the profiler
        self._left = threading.Event()
        self._done_steps = 0
        self._folder = ""
        self._saving: List[threading.Thread] = []
        self._done: List[str] = []
        if profile.wanted.options.get("stacks"):
            python_profilers.before_each(lambda: self.give_way(self._done_steps))
            if python_profilers.is_on():
                self.give_way(0)

    @notes.guarded
    def advance(self, done: int, framework: str) -> None:
        """Follow the schedule, after `done` steps. Called between two steps, by the thread that steps."""
        if self._schedule.over or self._broken:
            return
        with self._lock:
            self._done_steps = done
            # Until the end of this proves otherwise: what failed once is not tried at every step.
            self._broken, self._at_work = True, threading.get_ident()
            try:
                hindrance = self._ready(framework).hindrance()
                if hindrance:
                    notes.note(f"no capture for now: {hindrance}")
                elif not self._asked:
                    self._follow(done, framework)
                self._broken = False
            finally:
                self._at_work = 0
            if self._asked and not hindrance:
                self._leave(done)

    def _ready(self, framework: str) -> Tracer:
        """Return what records the present or next capture."""
        if self._tracer is None:
            self._tracer = _tracer(framework, self._profile.wanted.options, self._rank_name)
        return self._tracer

    def _follow(self, done: int, framework: str) -> None:
        schedule = self._schedule
        before = schedule.phase
        phase = schedule.advance(done)
        if before == ACTIVE and phase == WAIT:
            self._finish(schedule.capture - 1, done, partial=False)
            before, phase = WAIT, schedule.advance(done)
        if phase != WAIT:
            self._record(self._ready(framework), before, phase, done)

    def _record(self, tracer: Tracer, before: str, phase: str, done: int) -> None:
        recorder.current.mark(clock.CAPTURE)
        if before != phase == ACTIVE:
            folder = self._folder = self._temporary(self._schedule.capture)
            if self._rank == 0 and self._schedule.capture == 0:
                self._timeline = _start_timeline(folder)
            tracer.start(folder)
        elif before != phase:
            tracer.warm()
        if phase == ACTIVE:
            tracer.step(done + 1)

    @notes.guarded
    def give_way(self, done: int) -> None:
        """Leave the profiler, of which a process has but one, to the script itself."""
        if self._at_work == threading.get_ident() or self._left.is_set():
            return
        self._asked = True
        tracer = self._tracer
        if self._schedule.phase == WAIT or tracer is None or not tracer.hindrance():
            self._leave(done)
        elif not self._left.wait(_PATIENCE):  # for the thread that steps
            self._broken = True
            notes.note("the script's profiler has begun in another thread while a capture was under way")

    def _leave(self, done: int) -> None:
        with self._lock:
            if not self._left.is_set():
                if not self._schedule.over and not self._broken:
                    notes.note("the script uses the profiler itself, so nothing is captured from there on")
                self.end(done)
                self._left.set()

    @notes.guarded
    def end(self, done: int) -> None:
        """Leave what there is; nothing is captured any more."""
        phase, broken, self._broken = self._schedule.phase, self._broken, True
        if phase != WAIT and not broken and self._tracer is not None and self._tracer.hindrance():
            notes.note("the capture that was under way is lost: another thread has begun it")
        elif phase == ACTIVE and not broken:
            self._at_work = threading.get_ident()
            self._finish(self._schedule.capture, done, partial=True)
        elif phase == WARM and not broken and self._tracer is not None:
            self._at_work = threading.get_ident()
            self._tracer.abandon()
        self._at_work = 0
        for thread in self._saving:
            thread.join()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)  # still there only if something failed

    def _finish(self, capture: int, done: int, *, partial: bool) -> None:
        assert self._tracer is not None
        recorder.current.mark(clock.CAPTURE)
        save = self._tracer.stop()
        timeline, self._timeline, self._tracer = self._timeline, None, None
        if timeline is not None:
            timeline.stop()
        first, last = self._schedule.first, done
        folder = self._temporary(capture)

        @notes.guarded
        def publish() -> None:
            save(folder)
            if timeline is not None:
                timeline.wait()
            self._publish(capture, folder, Done(self._rank, first, last, (), partial))

        if partial:
            publish()  # the interpreter is going down and starts no more threads
        else:
            # Not a daemon: the interpreter waits for it before it ends.
            thread = threading.Thread(target=publish, name="ftjob-capture")
            self._saving.append(thread)
            thread.start()

    def _publish(self, capture: int, folder: str, done: Done) -> None:
        """Move the files to their names, the mark that they are complete last."""
        name, profile = f"{self._profile.prefix}{capture}", self._profile
        raw = f"{name}/{files.RAW}"
        with (
            _enter(profile.capture_dir, f"{raw}/{os.path.basename(folder)}") as source,
            _enter(profile.capture_dir, f"{raw}/{self._rank_name}") as target,
        ):
            target.clear()  # of an earlier attempt
            written = list(source.names())
            if not written:
                notes.note(f"capture {name}: the profiler wrote nothing")
                return
            for file in written:
                _let_all_read(source, file)
                source.rename(file, target, file)
                if file.endswith(".xplane.pb") and profile.plugins_dir:
                    with _enter(profile.plugins_dir, name) as plugins:
                        _link(target, file, plugins)
            shutil.rmtree(folder, ignore_errors=True)
            target.write(files.DONE, json.dumps(done._replace(files=written).as_json()).encode())
        # For the agent, which does not look for it in the volume.
        self._done.append(name)
        json_file.write(os.path.join(os.environ[variables.RANK_DIR], files.CAPTURED), self._done)

    def _temporary(self, capture: int) -> str:
        """Make the folder that the profiler writes to."""
        temporary = f".{self._rank_name}.{os.getpid()}.tmp"
        path = f"{self._profile.prefix}{capture}/{files.RAW}/{temporary}"
        with _enter(self._profile.capture_dir, path):
            return os.path.join(self._profile.capture_dir, path)


def _tracer(framework: str, options: Mapping[str, Any], rank_name: str) -> Tracer:
    if framework == "torch":
        from . import trace_torch

        return trace_torch.TorchTracer(options, rank_name)
    if framework == "tensorflow":
        from . import trace_tensorflow

        return trace_tensorflow.TensorFlowTracer(options, rank_name)
    raise RuntimeError(f"no profile of {framework} yet: set tools to [System] or mode to Off")


@notes.guarded
def _start_timeline(folder: str) -> Any:
    if "HOROVOD_RANK" not in os.environ:
        return None
    return horovod_timeline.start(folder)


def _enter(top: str, path: str) -> nofollow.Folder:
    """Open a folder, and make what is missing as the agent has made `top`: others read it and clean up."""
    os.makedirs(top, exist_ok=True)
    with nofollow.Folder(top) as folder:
        return folder.enter(path, stat.S_IMODE(os.fstat(folder.fd).st_mode))


def _let_all_read(folder: nofollow.Folder, name: str) -> None:
    file = folder.open(name)
    try:
        if os.fstat(file).st_nlink == 1:  # what the profiler has just written has no second name
            os.fchmod(file, nofollow.FILE_MODE)
    finally:
        os.close(file)


def _link(source: nofollow.Folder, name: str, target: nofollow.Folder) -> None:
    temporary = f".{name}.{os.getpid()}.tmp"
    with contextlib.suppress(FileNotFoundError):
        target.remove(temporary)  # of a life that was killed, or another name of a file that is not ours
    try:
        os.link(name, temporary, src_dir_fd=source.fd, dst_dir_fd=target.fd)
    except OSError:  # a file system without links
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(source.open(name), "rb") as old, os.fdopen(target.open(temporary, flags), "wb") as new:
            shutil.copyfileobj(old, new, 1 << 20)
    target.rename(temporary, target, name)
