"""Captures of one rank: which of them has the profiler, of which a process has but one, and when."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, List, Optional

from .. import json_file, notes
from ..clock import recorder
from ..protocol import ACTIVE, WAIT, WARM, Done, RankPhase, clock, files, variables
from . import python_profilers
from .places import Place
from .series import Ordered, Scheduled, Series
from .stacks import Stacks
from .tracers import horovod_timeline
from .tracers.tracer import NoTracer

if TYPE_CHECKING:
    from ..protocol import Profile
    from .tracers.tracer import Tracer

_PATIENCE = 5.0
_TAKEN = "the script uses the profiler itself"


class Captures:
    """All captures of this rank, one after the other: those of the schedule, and those that are ordered."""

    def __init__(self, profile: Optional[Profile], rank: int) -> None:
        self._rank = rank
        self._rank_name = files.rank_name(rank)
        self._scheduled = Scheduled(profile) if profile is not None else None
        self._ordered: Optional[Ordered] = None
        self._open: Optional[Series] = None  # what warms up or records
        self._lock = threading.RLock()
        self._at_work = 0  # the thread in which calls of the profiler are our own, not the script's
        self._asked = False  # whether the script wants the profiler
        self._left = threading.Event()
        self._has_ended = False
        self._steps = (0, 0)  # made by this process, and those of the training
        self._watches_python = False
        self._saving: List[threading.Thread] = []
        self._done: List[str] = []
        self.is_wanted = self._scheduled is not None
        """Whether steps matter now; looked at in each of them."""
        if self._scheduled is not None:
            self._watch_python(self._scheduled)

    # By the thread that steps.

    @notes.guarded
    def advance(self, executed: int, step: int, framework: str) -> None:
        """Follow the schedules, after this step. Called between two steps, by the thread that steps.

        Parameters
        ----------
        executed
            Steps of this process.
        step
            Steps of the training, which may go on where a checkpoint left off.
        """
        with self._lock:
            if self._has_ended:
                return
            self._steps = executed, step
            hindrance = ""
            for series in self._in_turn():
                hindrance = self._follow(series, framework)
                if self._open is not None or hindrance:
                    break
            if self._asked and not hindrance:
                self._leave()
            self._look_whether_wanted()

    def _in_turn(self) -> List[Series]:
        """Return what may go on, what is at work first; an order goes before the schedule."""
        turns = [self._open, self._ordered, self._scheduled]
        found = [series for series in turns if series is not None and not series.is_over]
        return list(dict.fromkeys(found))

    def _follow(self, series: Series, framework: str) -> str:
        """Go on with one series; return what hinders it here."""
        # Until the end of this proves otherwise: what failed once is not tried at every step.
        series.is_broken, self._at_work = True, threading.get_ident()
        try:
            hindrance = self._ready(series, framework).hindrance()
            if hindrance:
                notes.note(f"no capture for now: {hindrance}")
            elif not self._asked:
                self._go_on(series, framework)
            series.is_broken = False
        except Exception as error:
            self._lose(series, repr(error))
            raise
        finally:
            self._at_work = 0
        return hindrance

    def _ready(self, series: Series, framework: str) -> Tracer:
        """Return what records the present or next capture."""
        if series.tracer is None:
            series.tracer = _tracer(series, framework, self._rank_name)
        return series.tracer

    def _go_on(self, series: Series, framework: str) -> None:
        schedule, done = series.schedule, series.position(*self._steps)
        before = schedule.phase
        phase = schedule.advance(done)
        if before == ACTIVE and phase == WAIT:
            self._finish(series, done)
            self._open = None
            before, phase = WAIT, schedule.advance(done)
        if phase != WAIT:
            self._open = series
            self._record(series, self._ready(series, framework), before, done)

    def _record(self, series: Series, tracer: Tracer, before: str, done: int) -> None:
        phase = series.schedule.phase
        recorder.current.mark(clock.CAPTURE)
        if before != phase == ACTIVE:
            number = series.schedule.capture
            series.place = Place(series.capture(number), series.dirs, self._rank)
            if self._rank == 0 and series.wants_framework and number == 0:
                series.timeline = _start_timeline(series.place.temporary)
            tracer.start(series.place.temporary)
            series.stacks = Stacks() if "Stacks" in series.tools else None
            series.start_ns = time.time_ns()
            series.say(RankPhase.CAPTURING, first=0 if series.is_timed else series.schedule.first)
        elif before != phase:
            tracer.warm()
        if phase == ACTIVE and not series.is_timed:
            tracer.step(done + 1)

    # By the thread that looks for orders.

    @notes.guarded
    def order(self, ordered: Ordered) -> None:
        """Take an order; one that was taken already changes nothing."""
        with self._lock:
            present = self._ordered
            if present is not None and present.window.id == ordered.window.id:
                return
            if self._asked or self._has_ended:
                ordered.say(RankPhase.FAILED, _TAKEN if self._asked else "the script has ended")
            elif present is not None and present is self._open:
                ordered.say(RankPhase.FAILED, f"capture {present.window.id} is under way")
            else:
                self._watch_python(ordered)
                self._ordered = ordered
                ordered.say(RankPhase.ARMED)
            self._look_whether_wanted()

    @notes.guarded
    def withdraw(self, why: str) -> None:
        """Take the order back, unless its steps are being recorded."""
        with self._lock:
            ordered = self._ordered
            if ordered is None or ordered.is_over or ordered.is_active:
                return
            if ordered is self._open and ordered.tracer is not None and ordered.tracer.hindrance():
                return  # it warms up in the thread that steps, and ends there
            self._drop(ordered)
            ordered.say(RankPhase.FAILED, why)
            ordered.is_broken = True
            self._look_whether_wanted()

    @notes.guarded
    def drive(self, done: int, framework: str) -> None:
        """Begin (0) or end (1) the order's capture here, in a process that makes no steps."""
        with self._lock:
            series = self._ordered
            if series is not None and not series.is_over and not self._has_ended:
                self._steps = done, done
                self._follow(series, framework)

    def sample(self) -> None:
        """Look where the threads are, if a capture wants that."""
        series = self._open
        if series is not None and series.stacks is not None and series.is_active:
            series.stacks.sample()

    # By whoever uses a profiler, and at the end.

    @notes.guarded
    def give_way(self) -> None:
        """Leave the profiler, of which a process has but one, to the script itself."""
        if self._at_work == threading.get_ident() or self._left.is_set():
            return
        self._asked = True
        tracer = self._open.tracer if self._open is not None else None
        if tracer is None or not tracer.hindrance():
            self._leave()
        elif not self._left.wait(_PATIENCE):  # for the thread that steps
            self._has_ended = True
            notes.note("the script's profiler has begun in another thread while a capture was under way")
            self._say_lost("the script's profiler has begun in another thread")

    def _leave(self) -> None:
        with self._lock:
            if not self._left.is_set():
                if self._in_turn() and not self._has_ended:
                    notes.note(f"{_TAKEN}, so nothing is captured from there on")
                self._end(_TAKEN)
                self._left.set()

    @notes.guarded
    def end(self) -> None:
        """Leave what there is; nothing is captured any more."""
        with self._lock:
            self._end("the script has ended")

    def _end(self, why: str) -> None:
        series, has_ended, self._has_ended = self._open, self._has_ended, True
        self._open = None
        if series is not None and not has_ended and not series.is_broken:
            self._at_work, series.is_broken = threading.get_ident(), True
            if series.tracer is not None and series.tracer.hindrance():
                notes.note("the capture that was under way is lost: another thread has begun it")
                series.say(RankPhase.FAILED, "another thread has begun it")
            elif series.is_active:
                self._finish(series, series.position(*self._steps), why)
            else:
                self._drop(series)
                series.say(RankPhase.FAILED, why)
        self._at_work = 0
        self._say_lost(why)
        self._look_whether_wanted()
        for thread in self._saving:
            thread.join()

    def _say_lost(self, why: str) -> None:
        ordered = self._ordered
        if ordered is not None and not ordered.is_over:
            ordered.say(RankPhase.FAILED, why)
            ordered.is_broken = True

    # What all of these do.

    def _look_whether_wanted(self) -> None:
        self.is_wanted = not self._has_ended and bool(self._in_turn())

    def _lose(self, series: Series, why: str) -> None:
        """Give up a capture that can't go on."""
        if self._open is series:
            self._open = None
        series.say(RankPhase.FAILED, why)
        self._drop(series)

    @notes.guarded
    def _drop(self, series: Series) -> None:
        """Throw away what has been recorded."""
        tracer, series.tracer = series.tracer, None
        place, series.place = series.place, None
        if self._open is series:
            self._open = None
        if series.timeline is not None:
            series.timeline.stop()
            series.timeline = None
        if tracer is not None and series.schedule.phase == WARM:
            tracer.abandon()
        if place is not None:
            place.clear()

    def _finish(self, series: Series, done: int, cut: str = "") -> None:
        """End a capture; `cut` says why it is not whole."""
        tracer, place = series.tracer, series.place
        assert tracer is not None
        assert place is not None
        recorder.current.mark(clock.CAPTURE)
        save = tracer.stop()
        end_ns = time.time_ns()
        timeline, stacks = series.timeline, series.stacks
        series.tracer = series.place = series.timeline = series.stacks = None
        if timeline is not None:
            timeline.stop()
        first = 0 if series.is_timed else series.schedule.first
        steps = Done(
            self._rank, first, 0 if series.is_timed else done, (), bool(cut), series.start_ns, end_ns
        )

        def publish() -> None:
            series.say(RankPhase.SAVING, first=first)
            try:
                save(place.temporary)
                if stacks is not None:
                    stacks.save(place.temporary)
                if timeline is not None:
                    timeline.wait()
                is_there = place.publish(steps)
            except Exception as error:
                series.say(RankPhase.FAILED, _why(error), first=first)
                notes.note(f"capture {place.capture}: {_why(error)}")
            else:
                if is_there:
                    self._tell_done(place.capture)
                    series.say(RankPhase.DONE, cut, first=first, is_whole=not cut)
                else:
                    series.say(RankPhase.FAILED, "the profiler wrote nothing", first=first)
            finally:
                place.clear()

        if cut:
            publish()  # the interpreter may be going down, and then starts no more threads
        else:
            # Not a daemon: the interpreter waits for it before it ends.
            thread = threading.Thread(target=publish, name="ftjob-capture")
            self._saving = [*(thread for thread in self._saving if thread.is_alive()), thread]
            thread.start()

    def _tell_done(self, capture: str) -> None:
        """Tell the agent, which does not look into the volume."""
        self._done.append(capture)
        json_file.write(os.path.join(os.environ[variables.RANK_DIR], files.CAPTURED), self._done)

    def _watch_python(self, series: Series) -> None:
        """Let the script have Python's own profiler, whose place a capture with stacks would take."""
        if self._watches_python or not series.options.get("stacks"):
            return
        self._watches_python = True
        python_profilers.before_each(self.give_way)
        if python_profilers.is_on():
            self.give_way()


def _why(error: Exception) -> str:
    return error.strerror or repr(error) if isinstance(error, OSError) else repr(error)


def _tracer(series: Series, framework: str, rank_name: str) -> Tracer:
    if not series.wants_framework:
        return NoTracer(series.options, rank_name)
    if framework == "torch":
        from .tracers import trace_torch

        return trace_torch.TorchTracer(series.options, rank_name)
    if framework == "tensorflow":
        from .tracers import trace_tensorflow

        return trace_tensorflow.TensorFlowTracer(series.options, rank_name)
    if framework == "jax":
        from .tracers import trace_jax

        return trace_jax.JaxTracer(series.options, rank_name)
    raise RuntimeError(f"no profile of {framework} yet: set tools to [System] or mode to Off")


@notes.guarded
def _start_timeline(folder: str) -> Any:
    if "HOROVOD_RANK" not in os.environ:
        return None
    return horovod_timeline.start(folder)
