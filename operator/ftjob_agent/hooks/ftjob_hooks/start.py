"""What every Python process of a rank does at its start; imports next to nothing, since it is paid by all."""

from __future__ import annotations

import os
import sys

from . import failure, imports

TYPE_CHECKING = False  # as type checkers understand it, without the cost of `typing`
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable, Dict


def install() -> None:
    """Watch imports and the end of this process; a second call does nothing."""
    if any(isinstance(finder, imports.HookFinder) for finder in sys.meta_path):
        return
    failure.begin()
    failure.install()
    _prepare_stacks()
    imports.install({**_hooks(), **(_clock_hooks() if os.environ.get("FTJOB_CLOCK") == "1" else {})})


def _hooks() -> Dict[str, imports.Hook]:
    return {
        "torch.optim.optimizer": _later("steps.on_torch", "hook_optimizer"),
        "torch.amp.grad_scaler": _later("steps.on_torch", "hook_scaler"),
        "torch.distributed.checkpoint.state_dict": _later("steps.on_torch", "hook_checkpoint"),
        "horovod.torch.functions": _later("steps.on_torch", "hook_horovod"),
        "deepspeed.runtime.engine": _later("steps.on_torch", "hook_deepspeed"),
        "torch.autograd": _later("steps.own_profilers", "hook_torch"),
        "torch.autograd.profiler": _later("steps.own_profilers", "hook_torch"),
        "torch.autograd.profiler_legacy": _later("steps.own_profilers", "hook_torch"),
        "tensorflow.python.profiler.profiler_v2": _later("steps.own_profilers", "hook_tensorflow"),
        "jax._src.profiler": _later("steps.own_profilers", "hook_jax"),
        "tensorflow.python.eager.polymorphic_function.polymorphic_function": _later(
            "steps.on_tensorflow", "hook_function"
        ),
        "keras.src.optimizers.base_optimizer": _later("steps.on_keras", "hook_optimizer"),
        "keras.src.callbacks.callback_list": _later("steps.on_keras", "hook_callbacks"),
        "tf_keras.src.optimizers.optimizer": _later("steps.on_keras", "hook_tf_keras_optimizer"),
        "tf_keras.src.optimizers.legacy.optimizer_v2": _later(
            "steps.on_keras", "hook_tf_keras_legacy_optimizer"
        ),
        "tf_keras.src.callbacks": _later("steps.on_keras", "hook_callbacks"),
        "jax._src.clusters.cluster": _later("jax_cluster", "hook_clusters"),
        "torch.distributed.launcher.api": _later("launchers", "hook_torchrun"),
        "deepspeed.launcher.runner": _later("launchers", "hook_deepspeed"),
        "horovod.runner.launch": _later("launchers", "hook_horovodrun"),
    }


def _clock_hooks() -> Dict[str, imports.Hook]:
    """Return what measures steps; the modules are others than those of `_hooks`."""
    return {
        "torch.utils.data.dataloader": _later("clock.inputs", "hook_torch"),
        "tensorflow.python.data.ops.iterator_ops": _later("clock.inputs", "hook_tensorflow"),
        "tensorflow.python.distribute.input_lib": _later("clock.inputs", "hook_distributed"),
        "torch.distributed": _later("clock.collectives", "hook_distributed"),
        "torch.distributed.distributed_c10d": _later("clock.collectives", "hook_c10d"),
        "torch.nn.parallel.distributed": _later("clock.collectives", "hook_ddp"),
        "horovod.torch.mpi_ops": _later("clock.collectives", "hook_horovod"),
        "torch._dynamo.callback": _later("clock.compiling", "hook_dynamo"),
        "tensorflow.python.eager.polymorphic_function.tracing_compilation": _later(
            "clock.compiling", "hook_tracing"
        ),
        "jax": _later("clock.begin", "hook_jax"),
        "jax._src.monitoring": _later("clock.compiling", "hook_jax"),
    }


def _later(module: str, function: str) -> Callable[[ModuleType], None]:
    """Import the hook's own module only when its framework is there."""

    def hook(framework: ModuleType) -> None:
        own: Any = __import__(f"{__package__}.{module}", fromlist=[function])
        getattr(own, function)(framework)

    return hook


def _prepare_stacks() -> None:
    """Write all threads' stacks when the agent's watchdog asks; a handler in C, which hangs never stop."""
    number = os.environ.get("FTJOB_STACKS_SIGNAL")
    if not number:
        return
    import faulthandler
    import fcntl

    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = os.open(os.path.join(os.environ["FTJOB_RANK_DIR"], "stacks.txt"), flags, 0o600)
        # Far away from what programs expect their files to be, and close before they become something else.
        kept = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 200)
        os.close(file)
        faulthandler.register(int(number), file=kept, all_threads=True, chain=False)
    except (OSError, ValueError, RuntimeError) as error:
        sys.stderr.write(f"ftjob: stacks are off: {error!r}\n")
