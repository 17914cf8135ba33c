"""Ways to die, one after the other in one process: `dies.py SUBJECT` prints a line of JSON for each.

Each line has the name of its row in the catalogue, and what ftjob's hook would leave on record.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import sys
import tempfile
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEATHS: dict[str, list[tuple[str, Callable[[], Any]]]] = {
    "python": [],
    "torch": [],
    "tensorflow": [],
    "jax": [],
}
HUGE = 1 << 20
"""The square of it, in bytes, is more than a machine has."""


def dies_of(subject: str, row: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Mark a function that dies in a known way."""

    def keep(function: Callable[[], Any]) -> Callable[[], Any]:
        DEATHS[subject].append((row, function))
        return function

    return keep


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """Let nobody have terabytes, whatever the machine promises (proc(5), overcommit_memory)."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 38, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# Python


@dies_of("python", "module-missing")
def module() -> None:
    import apex_of_nowhere  # type: ignore[import-not-found]  # noqa: F401


@dies_of("python", "no-space")
def space() -> None:
    with open("/dev/full", "w") as file:
        file.write("x" * 100_000)


@dies_of("python", "not-writable")
def permission() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o700)
        os.seteuid(65534)
        try:
            open(f"{folder}/x", "w").close()
        finally:
            os.seteuid(0)


@dies_of("python", "port-in-use")
def port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_server(server.getsockname())


@dies_of("python", "unknown-host")
def host() -> None:
    socket.getaddrinfo("worker-7.nowhere.invalid", 80)


@dies_of("python", "not-launched")
def launched() -> None:
    os.environ.pop("LOCAL_RANK", None)
    print(os.environ["LOCAL_RANK"])


@dies_of("python", "open-files")
def files() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    kept = []
    try:
        while True:
            kept.append(open("/dev/null"))  # noqa: SIM115
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for file in kept:
            file.close()


@dies_of("python", "python-out-of-memory")
def memory() -> None:
    with little_memory():
        print(len([0] * HUGE**2))


@dies_of("python", "numpy-out-of-memory")
def array() -> None:
    import numpy as np

    with little_memory():
        np.empty((HUGE, HUGE))


@dies_of("python", "shared-library")
def library() -> None:
    import ctypes

    ctypes.CDLL("libcudnn_of_nowhere.so.9")


@dies_of("python", "main-guard")
def guard() -> None:
    from multiprocessing import spawn

    process: Any = multiprocessing_current()
    process._inheriting = True
    try:
        spawn.get_preparation_data("x")
    finally:
        del process._inheriting


def multiprocessing_current() -> Any:
    import multiprocessing

    return multiprocessing.current_process()


@dies_of("python", "not-picklable")
def pickled() -> None:
    import pickle

    pickle.dumps(lambda: 1)


@dies_of("python", "nan-loss")
def loss() -> None:
    value = float("nan")
    assert value == value, f"loss is {value} at step 12"  # noqa: PLR0124


@dies_of("python", "hdf5-damaged")
def hdf5() -> None:
    import h5py

    with tempfile.NamedTemporaryFile(suffix=".h5") as file:
        file.write(b"not one")
        file.flush()
        h5py.File(file.name, "r")


# torch


def distributed() -> Any:
    import torch.distributed

    return torch.distributed


@dies_of("torch", "torch-host-out-of-memory")
def tensor() -> None:
    import torch

    with little_memory():
        torch.empty(HUGE, HUGE)


@dies_of("torch", "no-gpu")
def cuda() -> None:
    import torch

    torch.zeros(1).cuda()


@dies_of("torch", "cuda-home")
def toolkit() -> None:
    from torch.utils import cpp_extension

    cpp_extension._join_cuda_home("bin")


def workers(die: Callable[[], Any]) -> None:
    from torch.utils.data import DataLoader, Dataset

    class Items(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 4

        def __getitem__(self, number: int) -> int:
            die()
            return number

    list(DataLoader(Items(), num_workers=1))


@dies_of("torch", "loader-worker-killed")
def killed() -> None:
    workers(lambda: os.kill(os.getpid(), signal.SIGKILL))


@dies_of("torch", "shm-data-loader")
def bus() -> None:
    workers(lambda: os.kill(os.getpid(), signal.SIGBUS))


@dies_of("torch", "loader-worker-crashed")
def crashed() -> None:
    workers(lambda: os.kill(os.getpid(), signal.SIGSEGV))


@dies_of("torch", "loader-worker-exited")
def exited() -> None:
    workers(lambda: os._exit(3))


@dies_of("torch", "no-space")
def worker_without_space() -> None:
    workers(space)


def load(state: Any) -> None:
    import torch

    torch.nn.Linear(2, 3).load_state_dict(state)


@dies_of("torch", "checkpoint-of-ddp")
def of_ddp() -> None:
    import torch

    load({f"module.{key}": value for key, value in torch.nn.Linear(2, 3).state_dict().items()})


@dies_of("torch", "checkpoint-other-model")
def other_model() -> None:
    import torch

    load(torch.nn.Linear(2, 2).state_dict())


@dies_of("torch", "checkpoint-cut-off")
def cut_off() -> None:
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.pt"
        torch.save({"w": torch.zeros(1000)}, path)
        os.truncate(path, os.path.getsize(path) // 2)
        torch.load(path)


class Settings:
    """What a checkpoint may hold beside tensors."""


@dies_of("torch", "checkpoint-weights-only")
def weights_only() -> None:
    import torch

    with tempfile.NamedTemporaryFile() as file:
        torch.save(Settings(), file.name)
        torch.load(file.name)


@dies_of("torch", "nan-in-backward")
def backward() -> None:
    import torch

    with torch.autograd.set_detect_anomaly(True):
        x = torch.tensor([-1.0], requires_grad=True)
        total: Any = torch.sqrt(x).sum()
        total.backward()


@dies_of("torch", "nan-gradient-norm")
def gradient_norm() -> None:
    import torch

    x = torch.zeros(1, requires_grad=True)
    x.grad = torch.tensor([float("inf")])
    torch.nn.utils.clip_grad_norm_([x], 1.0, error_if_nonfinite=True)


@dies_of("torch", "no-process-group")
def no_group() -> None:
    dist = distributed()

    dist.barrier()


@dies_of("torch", "not-launched")
def no_variables() -> None:
    dist = distributed()

    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
    dist.init_process_group("gloo")


def join(world: int, where: str = "127.0.0.1:0", **variables: str) -> None:
    from datetime import timedelta

    dist = distributed()

    address, _, number = where.partition(":")
    told = {"RANK": "0", "WORLD_SIZE": str(world), "MASTER_ADDR": address, "MASTER_PORT": number}
    with environment(**told, **variables):
        dist.init_process_group("gloo", timeout=timedelta(seconds=2))


@dies_of("torch", "store-timeout")
def alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    join(2, f"127.0.0.1:{free}")


@dies_of("torch", "store-unreached")
def unreached() -> None:
    from datetime import timedelta

    dist = distributed()

    dist.TCPStore("127.0.0.1", 9, 2, is_master=False, timeout=timedelta(seconds=2))


@dies_of("torch", "port-in-use")
def store_port() -> None:
    dist = distributed()

    with socket.create_server(("127.0.0.1", 0)) as server:
        dist.TCPStore("127.0.0.1", server.getsockname()[1], 1, is_master=True)


@dies_of("torch", "gloo-interface")
def interface() -> None:
    dist = distributed()

    with environment(GLOO_SOCKET_IFNAME="nosuchif"):
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)


@dies_of("torch", "ddp-unused-parameters")
def unused() -> None:
    import torch

    dist = distributed()

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

        def forward(self, x: Any) -> Any:
            return self.a(x)

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = torch.nn.parallel.DistributedDataParallel(Net())
        for _ in range(2):
            model(torch.zeros(1, 1)).sum().backward()
    finally:
        dist.destroy_process_group()


def two(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> None:
    """Run two ranks; the second in a forked process, whose end nobody is told of."""
    dist = distributed()

    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=1, world_size=2)
                second(dist)
            os._exit(0)
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=2)
        try:
            first(dist)
        finally:
            dist.destroy_process_group()
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@dies_of("torch", "peer-lost")
def peer_lost() -> None:
    import torch

    def reduce(dist: Any) -> None:
        dist.all_reduce(torch.zeros(1))
        dist.all_reduce(torch.zeros(1))

    two(reduce, lambda dist: (dist.all_reduce(torch.zeros(1)), os._exit(0)))


@dies_of("torch", "ddp-models-differ")
def models_differ() -> None:
    import torch

    two(
        lambda _: torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2)),
        lambda _: torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 3, bias=False)),
    )


@dies_of("torch", "horovod-not-initialised")
def horovod_first() -> None:
    import horovod.torch as hvd

    hvd.rank()


# TensorFlow and Keras, with Horovod


@dies_of("tensorflow", "tensorflow-out-of-memory")
def tensorflow_memory() -> None:
    import tensorflow as tf

    with little_memory():
        tf.zeros([HUGE, HUGE])


@dies_of("tensorflow", "nan-in-tensor")
def numerics() -> None:
    import tensorflow as tf

    tf.debugging.check_numerics(tf.constant(float("nan")), "loss")


@dies_of("tensorflow", "checkpoint-not-there")
def no_checkpoint() -> None:
    import tensorflow as tf

    tf.train.load_checkpoint("/nowhere/ckpt-1").get_tensor("x")


@dies_of("tensorflow", "checkpoint-keras")
def keras_checkpoint() -> None:
    import keras

    def model(units: int) -> Any:
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)])

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.weights.h5"
        model(2).save_weights(path)
        model(3).load_weights(path)


@dies_of("tensorflow", "horovod-keras-3")
def horovod_keras() -> None:
    import horovod.tensorflow.keras as hvd
    import keras
    import numpy as np

    hvd.init()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), "mse")
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    model.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0, callbacks=callbacks)


@dies_of("tensorflow", "tf-config")
def tf_config() -> None:
    import tensorflow as tf

    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    with environment(TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 5}})):
        tf.distribute.MultiWorkerMirroredStrategy()


# JAX


@dies_of("jax", "jax-out-of-memory")
def jax_memory() -> None:
    import jax.numpy as jnp

    with little_memory():
        jnp.ones((HUGE, HUGE)).block_until_ready()


@dies_of("jax", "nan-in-tensor")
def jax_nan() -> None:
    import jax
    import jax.numpy as jnp

    with jax.debug_nans(True):
        jnp.log(-1.0)


@dies_of("jax", "jax-initialise-late")
def jax_late() -> None:
    import jax

    jax.devices()
    jax.distributed.initialize("127.0.0.1:1", 1, 0)


def record(row: str, die: Callable[[], Any]) -> dict[str, Any]:
    """Return what is known of a death: as the hook `failure.py` writes it."""
    try:
        die()
    except BaseException as error:
        kind = type(error)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        text = "".join(traceback.format_exception(kind, error, error.__traceback__))
        return {"row": row, "type": name, "message": str(error), "traceback": text}
    return {"row": row, "type": "", "message": "it lives", "traceback": ""}


if __name__ == "__main__":
    for chosen, function in DEATHS[sys.argv[1]]:
        if len(sys.argv) > 2 and chosen != sys.argv[2]:
            continue
        print("\n@" + json.dumps(record(chosen, function)), flush=True)
    os._exit(0)
