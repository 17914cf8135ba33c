"""One set of processes, and the faults that are planted into them one after another."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insight.plan import PROGRAMS
from insight.planted import QUIET
from insight.score import Rows, Truth, fault_module, truth
from support import cpu_quota

if TYPE_CHECKING:
    from collections.abc import Sequence

    from insight.plan import Placement

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Trial:
    """Placements of one program and size, in an empty folder."""

    placements: Sequence[Placement]
    folder: Path
    faults: Sequence[Path]

    def command(self) -> list[str]:
        """Return the command of a rank."""
        program = self.placements[0].program
        folders = (PROGRAMS, *(each.parent / "programs" for each in self.faults))
        path = next(each / program.name for each in folders if (each / program.name).exists())
        return [sys.executable, str(path), *program.arguments]

    def env(self) -> dict[str, str]:
        """Write the plan; return what tells ranks of it."""
        (self.folder / "plan.json").write_text(json.dumps([each.as_json() for each in self.placements]))
        (self.folder / "truth").mkdir()
        return {
            "INSIGHT_PLAN": str(self.folder / "plan.json"),
            "INSIGHT_TRUTH": str(self.folder / "truth"),
            "INSIGHT_GROUP": f"ftjob-test-{self.folder.name}-",
            "INSIGHT_FAULTS": os.pathsep.join(map(str, self.faults)),
            "OMP_NUM_THREADS": "1",
            "PYTHONFAULTHANDLER": "1",
        }

    def clear(self) -> None:
        """Remove what ranks that were killed have left."""
        cpu_quota.remove(f"ftjob-test-{self.folder.name}-")

    def rows(self, placement: Placement) -> list[list[dict[str, Any]]]:
        """Return what each rank says of the steps of a placement."""
        found = [
            json.loads((self.folder / "truth" / f"rank-{rank}.json").read_text())
            for rank in range(placement.size)
        ]
        return [[row for row in each if row["placement"] == placement.id] for each in found]

    def truth(self, placement: Placement, rows: Rows) -> Truth:
        """Return what was really planted."""
        names = (folder / f"{placement.fault}.py" for folder in self.faults)
        path = next((each for each in names if each.exists()), None) if placement.fault else None
        return truth(placement, rows, fault_module(path) if path else None)


def times(rows: Rows) -> tuple[int, int]:
    """Return when the steps that count began and ended, in ns since 1970."""
    return rows[0][QUIET]["at"], rows[0][-1]["at"]
