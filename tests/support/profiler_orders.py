"""Every order of a program's own profiler and ours: `profiler_orders.py [RUNS]` (make test-profilers).

Ours warms up at step 4 and records steps 5 and 6, then 9 and 10. The modes themselves look at whether the
program's profile is whole. A run that ends otherwise than well ends this.
"""

from __future__ import annotations

import collections
import json
import sys
import tempfile
from pathlib import Path

from support.hook_env import MODES, Steps, hooks_in, profile_of, rank_env, record, run

ORDERS = [(1, 12), (2, 3), (3, 6), (4, 4), (4, 8), (5, 5), (5, 8), (6, 6), (6, 9), (7, 7), (7, 12), (9, 11)]
LONG = [(1, 12), (3, 6), (4, 8), (5, 8), (6, 9), (7, 12)]
"""Of a profiler that has a schedule of four steps."""
TORCH = ["kineto", "legacy", "old", "itt", "thread"]
TENSORFLOW = ["session", "context", "summary", "keras", "jax"]


def modes(interfaces: list[str], orders: list[tuple[int, int]]) -> list[str]:
    """Return the modes of some interfaces, in each order."""
    return [f"{interface}_{begin}_{end}" for interface in interfaces for begin, end in orders]


RUNS = {
    ("profilers", "without stacks"): [*modes(TORCH, ORDERS), *modes(["scheduled"], LONG)],
    ("profilers", "with stacks"): modes(["kineto", "python"], ORDERS),
    ("profilers_tensorflow", "without stacks"): modes(TENSORFLOW, ORDERS),
}


def main(runs: int) -> None:
    """Run all of them, again and again."""
    seen: collections.Counter[str] = collections.Counter()
    for number in range(1, runs + 1):
        for (family, stacks), names in RUNS.items():
            with tempfile.TemporaryDirectory() as folder:
                _run(Path(folder), family, names, stacks=stacks == "with stacks")
            seen.update(f"{name} {stacks}" for name in names)
        print(f"run {number} of {runs}: {seen.total()} programs, none has crashed", flush=True)


def _run(folder: Path, family: str, names: list[str], *, stacks: bool) -> None:
    profile = json.loads(profile_of(folder / "@MODE@", skipFirst=2, wait=1, warmup=1, active=2, repeat=2))
    profile["options"]["stacks"] = stacks
    env = rank_env(hooks_in(folder / "ftjob-agent.pyz"), folder, FTJOB_PROFILE=json.dumps(profile))
    run(env | {"CUDA_VISIBLE_DEVICES": ""}, MODES, family, folder, *names, timeout=3600)
    for name in names:
        notes = record(folder / name, "hooks.json")["notes"]
        if len(notes) != 1 or "profiler" not in notes[0] or Steps.read(folder / name).step != 12:
            sys.exit(f"{name}: {notes}, {Steps.read(folder / name)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
