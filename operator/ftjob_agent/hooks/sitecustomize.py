"""Loaded by Python's own start-up in every Python process of a rank; hands over to `ftjob_hooks`.

The image may have a `sitecustomize` of its own (Debian ships one). This one comes first on the path, so it
runs that one too, last, so that whatever it does or raises happens exactly as without us.
"""

import os
import sys


def _run_next_sitecustomize() -> None:
    here = os.path.dirname(__file__)
    path = [entry for entry in sys.path if entry != here]
    for finder in sys.meta_path:
        spec = finder.find_spec("sitecustomize", path)
        if spec is not None and spec.loader is not None:
            # What importlib.util re-exports, for 4 ms less in every Python process of a rank.
            from _frozen_importlib import module_from_spec

            module = module_from_spec(spec)
            # What stands here when we are done is what scripts import: theirs, as it would be without us.
            sys.modules["sitecustomize"] = module
            spec.loader.exec_module(module)
            return


if os.environ.get("FTJOB_RANK_DIR"):
    try:
        __import__("ftjob_hooks.start", fromlist=["install"]).install()
    except Exception as error:
        sys.stderr.write(f"ftjob: hooks are off: {error!r}\n")

_run_next_sitecustomize()
