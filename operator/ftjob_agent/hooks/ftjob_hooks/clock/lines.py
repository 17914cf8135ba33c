"""What a thread does, and at which line of the program, by the frames of its stack; pure."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Dict, NamedTuple, Optional, Sequence, Tuple

from ..protocol import Doing

if TYPE_CHECKING:
    from types import CodeType

_INPUT_NAMES = frozenset(("__next__", "__getitem__", "__getitems__", "collate_fn", "collate"))
_GENERATOR = 0x20
"""Flag of code: inspect.CO_GENERATOR, without the cost of `inspect`."""

# The first that fits counts. Paths are those of modules, from their top-level package on.
_RULES: Tuple[Tuple[Doing, Tuple[str, ...]], ...] = (
    (
        Doing.INPUT,
        (
            "torch/utils/data/",
            "torchdata/",
            "tensorflow/python/data/",
            "tensorflow/python/distribute/input_lib",
            "keras/src/trainers/epoch_iterator",
            "keras/src/trainers/data_adapters/",
            "tf_keras/src/engine/data_adapter",
            "datasets/",
            "webdataset/",
            "grain/",
            "nvidia/dali/",
        ),
    ),
    (
        Doing.SAVE,
        (
            "torch/serialization.py",
            "torch/distributed/checkpoint/",
            "safetensors/",
            "keras/src/saving/",
            "tf_keras/src/saving/",
            "tensorflow/python/checkpoint/",
            "tensorflow/python/saved_model/",
            "tensorflow/python/training/saver",
            "orbax/",
        ),
    ),
    (
        Doing.COLLECTIVE,
        (
            "torch/distributed/distributed_c10d.py",
            "torch/distributed/_functional_collectives",
            "torch/distributed/c10d_logger.py",
            "torch/distributed/fsdp/_fully_shard/_fsdp_collectives.py",
            "horovod/torch/mpi_ops.py",
            "horovod/tensorflow/mpi_ops.py",
        ),
    ),
    # Of the compilers, what runs at each call of something that is compiled.
    (
        Doing.STEP,
        (
            "torch/_dynamo/eval_frame.py",
            "torch/_dynamo/external_utils.py",
            "torch/_inductor/output_code.py",
            "torch/_inductor/runtime/",
            "torch/_inductor/utils.py",
            "torch/_functorch/_aot_autograd/runtime_wrappers.py",
            "torch/_functorch/_aot_autograd/utils.py",
            "torch/_functorch/aot_autograd.py",
        ),
    ),
    (
        Doing.COMPILE,
        (
            "torch/_dynamo/",
            "torch/_inductor/",
            "torch/_functorch/",
            "torch/fx/",
            "triton/",
            "tensorflow/python/eager/polymorphic_function/tracing_compilation.py",
            "tensorflow/python/framework/func_graph.py",
            "tensorflow/python/autograph/",
            "jax/_src/compiler.py",
            "jax/_src/interpreters/mlir.py",
            "jax/_src/interpreters/partial_eval.py",
        ),
    ),
    (Doing.STEP, ("torch/", "tensorflow/", "keras/", "tf_keras/", "jax/", "flax/", "optax/", "horovod/")),
)
_SYNC = frozenset(("synchronize", "block_until_ready", "numpy", "item"))
"""Functions of a framework that wait for its device."""
_FRAMEWORK = re.compile(
    "(?:torch|torchvision|torchaudio|torchdata|tensorflow|keras|tf_keras|jax|jaxlib|flax|optax|orbax|horovod|"
    "transformers|accelerate|datasets|deepspeed|lightning|pytorch_lightning|ignite|numpy|scipy|sklearn|pandas|"
    "PIL|cv2|safetensors|triton|webdataset|grain)(?:/|$)"
)
"""Libraries, where they lie in no folder for packages: on a PYTHONPATH, say."""
_WAITS = re.compile(r"\.(item|cpu|tolist|numpy)\(|synchronize\(|block_until_ready")
"""Of a line: it waits for the device, by a function that is not Python's."""
_PACKAGES = re.compile(r"[/\\](?:site|dist)-packages[/\\](.*)")
_STANDARD = os.path.dirname(os.__file__) + os.sep
_WATCHED = {"wait": Doing.COLLECTIVE, "following": Doing.INPUT}
"""Our own functions around what is not Python's."""
_HOOKS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True, eq=False)  # equal to itself alone: to compare code is slow
class Place:
    """What is known of a function by its code."""

    code: CodeType
    is_own: bool
    """It is one of ours, who only look."""
    is_users: bool
    doing: Optional[Doing]
    """What it does, whatever it calls; None: what it calls, or what calls it, tells more."""


class Seen(NamedTuple):
    """What one sample is counted as."""

    doing: Doing
    place: Place
    line: int
    is_plain: bool
    """Whether the line itself ran, and nothing that it has called, as far as Python knows."""


def place(code: CodeType, main: str = "", path: Optional[Sequence[str]] = None) -> Place:
    """Say what a function is by its file and name.

    Parameters
    ----------
    main
        The package that is run as the program, if it is one: it is the user's, wherever it lies.
    path
        Where modules are looked for; `sys.path` unless given.
    """
    file = code.co_filename
    if file.startswith(_HOOKS):
        return Place(code, is_own=True, is_users=False, doing=_WATCHED.get(code.co_name))
    module = _module(file, sys.path if path is None else path)
    package = (module or "").partition("/")[0]
    if module is None or (package and package == main and not _FRAMEWORK.match(main)):
        is_input = code.co_name in _INPUT_NAMES or bool(code.co_flags & _GENERATOR)
        return Place(code, is_own=False, is_users=True, doing=Doing.INPUT if is_input else None)
    found = next((doing for doing, starts in _RULES if module.startswith(starts)), None)
    if found == Doing.STEP and code.co_name in _SYNC:
        found = Doing.SYNC
    return Place(code, is_own=False, is_users=False, doing=found)


def _module(file: str, path: Sequence[str]) -> Optional[str]:
    """Return where a library's file lies among the libraries; None for the program's own."""
    found = _PACKAGES.search(file)
    if found is not None:
        return found[1].replace("\\", "/")
    if file.startswith((_STANDARD, "<frozen")):
        return ""
    if "torchinductor_" in file:  # what it has written; it lies in a folder for temporary files
        return "torch/_inductor/runtime/"
    for entry in path:
        if entry and file.startswith(entry.rstrip("/") + "/"):
            inner = file[len(entry.rstrip("/")) + 1 :]
            if "/" in inner and _FRAMEWORK.match(inner):
                return inner
    return None


def see(frames: Sequence[Tuple[CodeType, int]], places: Dict[int, Place]) -> Optional[Seen]:
    """Say what a stack does, its innermost frame first.

    `places` has the place of each code, by its identity.
    """
    found = [(places[id(code)], line) for code, line in frames]
    theirs = [frame for frame in found if not frame[0].is_own]
    if not theirs:
        return None
    doing = Doing.OTHER
    for index, (function, _) in enumerate(found):
        # The program's own loop is nobody's input, also if it is a generator.
        if function.doing is not None and not (function.is_users and index == len(found) - 1):
            doing = function.doing
            break
    shown, line = next((frame for frame in theirs if frame[0].is_users), theirs[0])
    return Seen(doing, shown, line, shown.is_users and shown is theirs[0][0])


def text(code: CodeType, line: int) -> str:
    """Return how a line is shown."""
    return f"{os.path.basename(code.co_filename)}:{line} {code.co_name}"


def waits(source: str) -> bool:
    """Whether a line of source waits for the device."""
    return _WAITS.search(source) is not None
