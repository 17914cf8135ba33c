"""Loaded by Python's own start-up in every Python process of a rank; hands over to `ftjob_hooks`.

The image may have a `sitecustomize` of its own (Debian ships one). This one comes first on the path, so it
runs that one too, last, so that whatever it does or raises happens exactly as without us.
"""

import os
import sys


def _run_next_sitecustomize() -> None:
    from importlib import util
    from importlib.machinery import PathFinder

    here = os.path.dirname(__file__)
    spec = PathFinder.find_spec("sitecustomize", [entry for entry in sys.path if entry != here])
    if spec is None or spec.loader is None or os.path.dirname(spec.origin or "") == here:
        return
    module = util.module_from_spec(spec)
    # The import system hands out what stands here when we are done: theirs, as it would be without us.
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if os.environ.get("FTJOB_RANK_DIR"):
    try:
        __import__("ftjob_hooks.start", fromlist=["install"]).install()
    except Exception as error:
        sys.stderr.write(f"ftjob: hooks are off: {error!r}\n")

_run_next_sitecustomize()
