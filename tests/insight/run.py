"""Plant faults into real trainings and compare the verdicts with the truth: ``run.py --help``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insight.launch import environments
from insight.measure import Watch
from insight.plan import FAULTS, PROGRAMS, Placement, Program, draw
from insight.score import Outcome, fault_module, table, truth
from support.hook_env import hooks_in, rank_env

from ftjob_diagnosis.diagnose import diagnose

if TYPE_CHECKING:
    from collections.abc import Sequence

TESTS = Path(__file__).parents[1]
LIMIT_S = 420


def run(
    placements: Sequence[Placement], faults: Sequence[Path] = (FAULTS,), hooks: Path | None = None
) -> list[Outcome]:
    """Run all placements, those of one program and size in one set of processes, and print each outcome."""
    groups: dict[tuple[Program, int], list[Placement]] = defaultdict(list)
    for each in placements:
        groups[each.program, each.size].append(each)
    found = []
    for group in groups.values():
        with tempfile.TemporaryDirectory(prefix="insight-") as folder:
            outcomes = _together(group, Path(folder), faults, hooks)
        for outcome in outcomes:
            report(outcome)
        found += outcomes
    return found


def _together(
    group: Sequence[Placement], folder: Path, faults: Sequence[Path], hooks: Path | None
) -> list[Outcome]:
    hooks = hooks or hooks_in(folder / "agent.pyz")
    plan = folder / "plan.json"
    plan.write_text(json.dumps([each.as_json() for each in group]))
    truths = folder / "truth"
    truths.mkdir()
    program, size = group[0].program, group[0].size
    more = {
        "FTJOB_CLOCK": "1",
        "INSIGHT_PLAN": plan,
        "INSIGHT_TRUTH": truths,
        "OMP_NUM_THREADS": "1",
        "INSIGHT_FAULTS": os.pathsep.join(map(str, faults)),
    }
    path = next(
        p for p in (PROGRAMS, *(each.parent / "programs" for each in faults)) if (p / program.name).exists()
    )
    ranks, folders = [], []
    with environments(program.launcher, size) as envs:
        for number, own in enumerate(envs):
            rank_dir = folder / f"rank-{number}"
            rank_dir.mkdir()
            folders.append(rank_dir)
            env = rank_env(hooks, rank_dir, **more, **own, FTJOB_RANK=number)
            env["PYTHONPATH"] += f"{os.pathsep}{TESTS}"
            log = (folder / f"rank-{number}.log").open("w")
            ranks.append(
                subprocess.Popen(
                    [sys.executable, path / program.name, *program.arguments], env=env, stdout=log, stderr=log
                )
            )
        watch = Watch(folders, [rank.pid for rank in ranks])
        watch.start()
        until = time.monotonic() + LIMIT_S
        try:
            codes = [rank.wait(max(1, until - time.monotonic())) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        watch.done.set()
        watch.join()
    if any(codes):
        logs = "\n".join((folder / f"rank-{rank}.log").read_text()[-1500:] for rank in range(size))
        raise RuntimeError(f"{program.name} {program.arguments}: {codes}\n{logs}")
    watch.look()
    rows = [json.loads((truths / f"rank-{rank}.json").read_text()) for rank in range(size)]
    return [_outcome(each, rows, watch, faults) for each in group]


def _outcome(
    placement: Placement, rows: Sequence[Sequence[dict[str, Any]]], watch: Watch, faults: Sequence[Path]
) -> Outcome:
    mine = [[row for row in each if row["placement"] == placement.id] for each in rows]
    path = (
        next((p for f in faults if (p := f / f"{placement.fault}.py").exists()), None)
        if placement.fault
        else None
    )
    module = fault_module(path) if path else None
    true = truth(placement, mine, module)
    limit = 2 * mine[0][0]["rss"] if placement.fault == "leak" else None
    begin = mine[0][0]["number"]
    window = watch.window(begin, placement.steps, "Torchrun", limit)
    wanted = module.CAUSE if module and true.kind == "Straggler" else None
    if window is None:
        return Outcome(placement, true, "NoClock", (), None, wanted, "no clock", 0.0)
    found = diagnose(window)
    told = found.verdict
    first, last = (int(window.blocks[i].ranks[0].end_s * 1e9) for i in (0, -1))
    cause = str(told.cause) if told and told.cause else None
    return Outcome(
        placement,
        true,
        str(found.kind),
        told.ranks if told else (),
        cause,
        wanted,
        found.text,
        watch.contended(first, last),
    )


def main() -> int:
    """Run what is asked for, print each outcome and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faulty", type=int, default=200)
    parser.add_argument("--healthy", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=Path, action="append", default=[], help="a folder with more faults")
    parser.add_argument("--hooks", type=Path)
    args = parser.parse_args()
    placements = draw(args.faulty, args.seed)
    for each in draw(args.healthy, args.seed + 1, healthy=True):
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
    name = f"{mark:5} {place.program.arguments[0]:8} x{place.size}"
    print(f"{name} {planted}, busy {100 * each.contended:.0f} %: {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
