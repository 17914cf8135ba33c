"""Small trainings, each in a forked child with a rank folder of its own.

`hook_modes.py FAMILY[,FAMILY] FOLDER MODE...` imports a framework once, which takes most of the time, and
uses it only in the children. A child writes the number of steps that it counted itself to
`<folder>/<mode>/steps.txt`.
"""

import importlib
import os
import sys
from pathlib import Path


def main() -> None:
    """Import the families' modules, then run its modes."""
    family, folder, *modes = sys.argv[1:]
    modules = [importlib.import_module(f"hook_modes_{name}") for name in family.split(",")]
    for mode in modes:
        pid = os.fork()
        if pid == 0:
            own = Path(folder, mode)
            own.mkdir(parents=True)
            os.environ["FTJOB_RANK_DIR"] = str(own)
            if "FTJOB_PROFILE" in os.environ:
                os.environ["FTJOB_PROFILE"] = os.environ["FTJOB_PROFILE"].replace("@MODE@", mode)
            training = next(getattr(module, mode) for module in modules if hasattr(module, mode))
            (own / "steps.txt").write_text(str(training()))
            return
        if os.waitpid(pid, 0)[1]:
            sys.exit(f"mode {mode} failed")


if __name__ == "__main__":
    main()
