"""Plant faults into real trainings and compare the verdicts with the truth: ``run.py --help``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from insight.job import run_job
from insight.launch import environments
from insight.measure import Watch
from insight.plan import FAULTS, PROGRAMS_KNOWN, REAL_WORK, Placement, Program, draw
from insight.score import Outcome, table
from insight.trial import TESTS, Trial, times
from support.hook_env import hooks_in, rank_env

from ftjob_diagnosis.diagnose import diagnose

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP_LIMIT_S, START_LIMIT_S = 5.0, 600.0
"""Of a set of processes."""
AT_ONCE = 2
"""Jobs: while one starts, another one trains. Those that compute for real need the cores for themselves."""


def run(
    placements: Sequence[Placement],
    faults: Sequence[Path] = (FAULTS,),
    hooks: Path | None = None,
) -> list[Outcome]:
    """Run all placements and print each outcome: first the jobs.

    The others of one program and size share a set of processes.
    """
    jobs = [each for each in placements if each.is_job]
    found = _jobs([each for each in jobs if each.fault not in REAL_WORK], faults, AT_ONCE)
    found += _jobs([each for each in jobs if each.fault in REAL_WORK], faults, 1)
    groups: dict[tuple[Program, int], list[Placement]] = defaultdict(list)
    for each in placements:
        if not each.is_job:
            groups[each.program, each.size].append(each)
    for group in groups.values():
        with tempfile.TemporaryDirectory(prefix="insight-") as folder:
            outcomes = _together(Trial(group, Path(folder), faults), hooks)
        for outcome in outcomes:
            report(outcome)
        found += outcomes
    return found


def _jobs(placements: Sequence[Placement], faults: Sequence[Path], at_once: int) -> list[Outcome]:
    found = []
    with ThreadPoolExecutor(at_once) as pool:
        for outcome in pool.map(lambda each: _job(each, faults), placements):
            report(outcome)
            found.append(outcome)
    return found


def _job(placement: Placement, faults: Sequence[Path]) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="insight-") as folder:
        return run_job(placement, Path(folder), faults)


def _together(trial: Trial, hooks: Path | None) -> list[Outcome]:
    hooks = hooks or hooks_in(trial.folder / "agent.pyz")
    program, size = trial.placements[0].program, trial.placements[0].size
    more = trial.env() | {"FTJOB_CLOCK": "1", "FTJOB_WORLD_SIZE": str(size)}
    folders = [trial.folder / f"rank-{rank}" for rank in range(size)]
    ranks: list[subprocess.Popen[bytes]] = []
    watch = Watch(folders, ranks)
    try:
        with environments(program.strategy, size) as envs:
            for number, (folder, own) in enumerate(zip(folders, envs, strict=True)):
                folder.mkdir()
                env = rank_env(hooks, folder, **more, **own, FTJOB_RANK=number)
                env["PYTHONPATH"] += f"{os.pathsep}{TESTS}"
                with folder.with_suffix(".log").open("w") as log:
                    ranks.append(subprocess.Popen(trial.command(), env=env, stdout=log, stderr=log))
            watch.start()
            steps = sum(each.steps for each in trial.placements)
            until = time.monotonic() + START_LIMIT_S + STEP_LIMIT_S * steps
            codes = [rank.wait(max(1, until - time.monotonic())) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
        trial.clear()
        watch.done.set()
    watch.join()
    if any(codes):
        logs = "\n".join(folder.with_suffix(".log").read_text()[-1500:] for folder in folders)
        raise RuntimeError(f"{program.label}: {codes}\n{logs}")
    watch.look()
    return [_outcome(each, trial, watch) for each in trial.placements]


def _outcome(placement: Placement, trial: Trial, watch: Watch) -> Outcome:
    rows = trial.rows(placement)
    true = trial.truth(placement, rows)
    limit = 2 * rows[0][0]["rss"] if placement.fault == "leak" else None
    window = watch.window(rows[0][0]["number"], placement.steps, placement.program.strategy, limit)
    busy = watch.contended(*times(rows))
    if window is None:
        return Outcome(placement, true, "NoClock", (), None, "no clock", busy)
    found = diagnose(window)
    told = found.verdict
    cause = str(told.cause) if told and told.cause else None
    return Outcome(placement, true, str(found.kind), told.ranks if told else (), cause, found.text, busy)


def main() -> int:
    """Run what is asked for, print each outcome and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faulty", type=int, default=200)
    parser.add_argument("--healthy", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=Path, action="append", default=[], help="a folder with more faults")
    parser.add_argument("--hooks", type=Path)
    parser.add_argument("--only", default="", help="programs whose name has this, such as 'horovod_fit'")
    args = parser.parse_args()
    more = [path.stem for folder in args.faults for path in sorted(folder.glob("*.py"))]
    programs = [
        replace(each, faults=(*each.faults, *more)) for each in PROGRAMS_KNOWN if args.only in each.label
    ]
    placements = draw(args.faulty, args.seed, programs=programs)
    for each in draw(args.healthy, args.seed + 1, healthy=True, programs=programs):
        each.id = len(placements)
        placements.append(each)
    outcomes = run(placements, (FAULTS, *args.faults), args.hooks)
    print(table(outcomes))
    return 0


def report(each: Outcome) -> None:
    """Print one line."""
    mark = "ok" if each.is_right else "--" if not each.counts else "WRONG"
    place, true = each.placement, each.truth
    planted = (
        f"{place.fault or 'nothing':16} ranks {place.ranks} {100 * true.share:.0f} % of {true.step_ms:.0f} ms"
    )
    told = f"{each.kind} {each.ranks} {each.cause or ''} | {each.text}"
    name = f"{mark:5} {place.program.label:24} x{place.size} {'job' if place.is_job else '   '}"
    print(f"{name} {planted}, busy {100 * each.contended:.0f} %: {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
