"""Starting the workloads as their users do: as programs, in processes of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import pytest

import ftjob_workloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np

TIMEOUT = 1500
"""Seconds for one program: it computes for minutes, and yields the cores (tests/setup/yield.sh)."""

MODULES = (
    "__main__",
    *(f"ftjob_workloads.{path.stem}" for path in Path(ftjob_workloads.__file__).parent.glob("*.py")),
)
NOTHING_DEPRECATED = ",".join(
    f"error::{kind}:{module}"
    for kind in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
    for module in MODULES
)
"""A deprecated call of one of our modules ends the program, unless the module itself has a filter for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TIMEOUT + 300))  # the programs themselves are given up before


@dataclass(frozen=True)
class Program:
    """A program that was started, and the folder that holds its output, results and checkpoints."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path

    def wait(self) -> int:
        return self.process.wait(TIMEOUT)

    def finish(self, exit_code: int = 0) -> Program:
        assert self.wait() == exit_code, self.output()
        assert "deprecat" not in self.output().lower(), self.output()  # frameworks log it, too
        return self

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def result(self, rank: int = 0) -> dict[str, Any]:
        file = self.folder / "results" / f"result-rank-{rank:05d}.json"
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return result

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Read the saved model's weights, without importing Keras into the test's process."""
        with zipfile.ZipFile(self.folder / "results" / "model.keras") as model:
            content = io.BytesIO(model.read("model.weights.h5"))
        found: dict[str, np.ndarray[Any, Any]] = {}

        def take(name: str, item: object) -> None:
            if name.startswith("layers/") and isinstance(item, h5py.Dataset):
                found[name] = item[()]

        with h5py.File(content) as file:
            file.visititems(take)
        return found


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Program]]:
    """Start `python ARGS...` with its outputs in a folder; what still runs at the end is killed."""
    programs: list[Program] = []
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("FTJOB_", "HOROVOD_"))}

    def start(
        folder: Path,
        *args: object,
        env: Mapping[str, str] | None = None,
        name: str = "log",
        python: Path | str = sys.executable,
    ) -> Program:
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f"{name}.txt"
        places = {"FTJOB_OUTPUTS": str(folder), "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "1"}
        places |= {"PYTHONWARNINGS": NOTHING_DEPRECATED, "PYTHONFAULTHANDLER": "1"}
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [str(python), *map(str, args)],
                cwd=folder,
                env=clean | places | dict(env or {}),
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        programs.append(Program(process, folder, log))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()
