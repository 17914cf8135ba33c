"""Libraries that people train with: equal losses under their own launcher and under ftjob, profiled or not.

The programs are in `libraries/`, as people write them. CI runs a sample that costs little, and only profiled;
`make test-programs` runs all of them. What ftjob sees of each stands in docs/programs.md.
A line and its end are one write, since torchrun's ranks share one pipe.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.differential import Program, bare, differences, ours
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent / "libraries"
TORCHRUN = ("torchrun", "--standalone", "--nproc-per-node=2")
HOROVODRUN = ("horovodrun", "--gloo", "-np", "2", "python")
WHOLE = bool(os.environ.get("FTJOB_WHOLE_MATRIX"))
PROFILED = {
    "outputs": {},
    "profiling": {
        "mode": "Scheduled",
        "schedule": {"skipFirst": 2, "wait": 1, "warmup": 1, "active": 3, "repeat": 1},
    },
}
BOTH = f"for rank in 0 1; do python $0 localhost:{free_port()} 2 $rank & done; wait %1 && wait %2"
"""JAX has no launcher; its processes get their places as arguments."""
ELASTIC = {"elastic": {"minWorkers": 2, "maxWorkers": 2}}


@dataclass(frozen=True)
class Library:
    """A program of a library, and what ftjob has to see of it."""

    script: str
    launcher: tuple[str, ...]
    steps: int | None
    """None: ftjob counts none; then it captures none."""
    strategy: str = "Torchrun"
    ranks: int = 2
    arguments: tuple[str, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    own_profiler: bool = False
    """Whether the program profiles itself; ftjob gives way."""
    in_ci: bool = False

    @property
    def program(self) -> Program:
        """How it is run."""
        name = f"{self.script}.py"
        return Program(
            command=("python", name, *self.arguments),
            bare=(*self.launcher, name, *self.arguments),
            files={name: (FOLDER / name).read_text()},
            strategy=self.strategy,
            processes=1 if self.spec else self.ranks,
            workers=self.ranks if self.spec else 1,
            spec=self.spec,
            env={"OMP_NUM_THREADS": "1"},
            own="^rank",
            left_out=r"^(trained|board)/",
            timeout=600,
        )


LIBRARIES = {
    "lightning": Library("lightning_fit", TORCHRUN, 12),
    "lightning's profiler": Library("lightning_fit", TORCHRUN, 12, arguments=("pytorch",), own_profiler=True),
    "accelerate": Library(
        "accelerate_loop", ("accelerate", "launch", "--multi_gpu", "--num_processes", "2"), 12
    ),
    "trainer": Library("huggingface_trainer", TORCHRUN, 12),
    "ddp": Library("torch_ddp", TORCHRUN, 12),
    "fsdp2": Library("torch_fsdp2", TORCHRUN, 12),
    "imagenet": Library("imagenet", TORCHRUN, 10),
    "ignite": Library("ignite_engine", TORCHRUN, 12),
    "deepspeed": Library("deepspeed_zero", TORCHRUN, 12),
    "keras": Library("keras_fit", ("python",), 12, "Plain", 1, in_ci=True),
    "keras' profiler": Library("keras_fit", ("python",), 12, "Plain", 1, ("board",), own_profiler=True),
    "tensorflow": Library("tensorflow_loop", ("python",), 12, "Plain", 1),
    "tf.data service": Library("tensorflow_loop", ("python",), 12, "Plain", 1, ("service",)),
    "flax": Library("jax_flax_optax", ("python",), None, "JAX", 1, in_ci=True),
    "jax ranks": Library("jax_ranks", ("bash", "-c", BOTH), None, "JAX", 2),
    "horovod": Library("horovod_mnist", HOROVODRUN, 24, "Horovod"),
    "horovod synthetic": Library("horovod_synthetic", HOROVODRUN, 12, "Horovod"),
    "horovod elastic": Library("horovod_elastic", HOROVODRUN, 16, "Horovod", spec=ELASTIC),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_trains_alike(tmp_path: Path, name: str) -> None:
    library = LIBRARIES[name]
    if not WHOLE and not library.in_ci:
        pytest.skip("costs minutes; `make test-programs` runs it")
    specs = (PROFILED,) if library.in_ci and not WHOLE else ({}, PROFILED)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(bare, library.program, tmp_path)]
        for number, spec in enumerate(specs):
            program = replace(library.program, spec={**library.spec, **spec})
            runs.append(pool.submit(ours, program, tmp_path / str(number)))
        theirs, *outcomes = (run.result() for run in runs)
    assert theirs.code == 0, theirs.console[-4000:]
    assert theirs.lines
    for outcome, spec in zip(outcomes, specs, strict=True):
        assert not differences(theirs, outcome), outcome.console[-4000:]
        assert outcome.status.get("progress", {}).get("step") == library.steps
        if spec and library.steps and not library.own_profiler:
            [capture] = [each for each in outcome.status["profile"]["captures"] if each["id"] == "s0"]
            ranks = f"{library.ranks}/{library.ranks}"
            assert (capture["phase"], capture["ranks"]) == ("Ready", ranks), capture
