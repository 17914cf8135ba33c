"""`ftjob_protocol`, which lies beside the agent, in a folder that must not be on a script's path."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

_NAME = "ftjob_protocol"


def _load() -> None:
    folder = __file__
    for _ in range(4):  # of ftjob_agent/hooks/ftjob_hooks/protocol.py
        folder = os.path.dirname(folder)
    spec = PathFinder.find_spec(_NAME, [folder])
    if spec is None or spec.loader is None:
        raise ImportError(f"{_NAME} is not in {folder}")
    if not hasattr(spec.loader, "exec_module"):  # a zip, before Python 3.10
        spec.loader.load_module(_NAME)
        return
    module = sys.modules[_NAME] = module_from_spec(spec)
    spec.loader.exec_module(module)


if _NAME not in sys.modules:
    _load()

from ftjob_protocol import files, steps, variables  # noqa: E402
from ftjob_protocol.captures import Done, Profile  # noqa: E402
from ftjob_protocol.captures.schedule import ACTIVE, WAIT, WARM, Schedule, Windows  # noqa: E402
from ftjob_protocol.captures.window import OrderWord, RankCapture, RankPhase, Told, Window  # noqa: E402
from ftjob_protocol.files import nofollow  # noqa: E402
from ftjob_protocol.values.digits import whole  # noqa: E402
from ftjob_protocol.vitals import clock, where  # noqa: E402
from ftjob_protocol.vitals.clock import StepRecord  # noqa: E402
from ftjob_protocol.vitals.where import Doing, Line, Where  # noqa: E402

__all__ = [
    "ACTIVE",
    "WAIT",
    "WARM",
    "Doing",
    "Done",
    "Line",
    "OrderWord",
    "Profile",
    "RankCapture",
    "RankPhase",
    "Schedule",
    "StepRecord",
    "Told",
    "Where",
    "Window",
    "Windows",
    "clock",
    "files",
    "nofollow",
    "steps",
    "variables",
    "where",
    "whole",
]
