"""Runs programs as a rank is run, with the hooks inside a zipapp, and reads what they leave."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.agent_zipapp import build_agent

PROGRAMS = Path(__file__).parent / "programs"
MODES = Path(__file__).parent / "hook_modes.py"
HOROVOD = Path(__file__).parent / "hook_horovod.py"


@dataclass(frozen=True)
class Steps:
    """`steps.bin`, read."""

    magic: bytes
    step: int
    total: int
    last_ns: int
    first_ns: int
    epoch: float
    flags: int
    reserved: int

    @staticmethod
    def read(folder: Path) -> Steps:
        return Steps(*struct.unpack("<8sQQQQdQQ", (folder / "steps.bin").read_bytes()))


def hooks_in(zipapp: Path) -> Path:
    """Build the agent and give the folder in it that ranks have on their path."""
    return build_agent(zipapp) / "ftjob_agent" / "hooks"


def rank_env(hooks: Path, rank_dir: Path, **more: object) -> dict[str, str]:
    """The environment of rank 0, as the agent makes it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FTJOB_", "HOROVOD_"))}
    env |= {"PYTHONPATH": str(hooks), "FTJOB_RANK_DIR": str(rank_dir), "FTJOB_RANK": "0"}
    env |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    return env | {name: str(value) for name, value in more.items()}


def profile_of(folder: Path, **schedule: int) -> str:
    """`FTJOB_PROFILE` with the outputs in FOLDER."""
    return json.dumps(
        {
            "id": "s0",
            "captureDir": str(folder / "captures"),
            "pluginsDir": str(folder / "plugins" / "profile"),
            "schedule": {"skipFirst": 0, "wait": 0, "warmup": 0, "active": 1, "repeat": 1} | schedule,
            "tools": ["Framework", "System"],
            "options": {"shapes": True, "memory": False, "stacks": False},
        }
    )


def run(
    env: dict[str, str], *program: object, code: int = 0, timeout: float = 550
) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end, which must be the expected one."""
    done = subprocess.run(
        [sys.executable, *map(str, program)],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == code, done.stderr[-4000:]
    return done


def record(folder: Path, name: str) -> Any:
    """Read one of the JSON files of a rank's folder."""
    return json.loads((folder / name).read_text())
