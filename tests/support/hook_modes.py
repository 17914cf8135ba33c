"""Small trainings, each in a forked child with a rank folder of its own: `hook_modes.py FAMILY FOLDER MODE...`.

The framework is imported once and used only in the children, since its import takes most of the time. A child
writes the number of steps that it counted itself to `<folder>/<mode>/steps.txt`.
"""

import importlib
import os
import sys
import traceback
from pathlib import Path


def main() -> None:
    """Import the family's module, then run its modes."""
    family, folder, *modes = sys.argv[1:]
    module = importlib.import_module(f"hook_modes_{family}")
    for mode in modes:
        pid = os.fork()
        if pid == 0:
            own = Path(folder, mode)
            own.mkdir(parents=True, exist_ok=True)
            os.environ["FTJOB_RANK_DIR"] = str(own)
            if "FTJOB_PROFILE" in os.environ:
                os.environ["FTJOB_PROFILE"] = os.environ["FTJOB_PROFILE"].replace("@MODE@", mode)
            try:
                steps = getattr(module, mode)()
                (own / "steps.txt").write_text(str(steps))
            except BaseException:
                traceback.print_exc()
                sys.exit(1)
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        print(mode, "exit", status, flush=True)


if __name__ == "__main__":
    main()
