"""Two ranks with a fault: `slow_ranks.py torch|horovod|tensorflow FAULT GO SECONDS`.

They train until the file GO is gone or the time is up.

Sleeps stand for work of a device: they leave the cores to others.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

MODE, FAULT, GO, END = sys.argv[1], sys.argv[2], Path(sys.argv[3]), time.monotonic() + float(sys.argv[4])
RANK = int(os.environ["FTJOB_RANK"])
WORK, LATE = 0.03, 0.04
LONG, AHEAD = 0.1, 0.02
"""With data that are read ahead: a step, and how long it takes to read for one."""
CHECKPOINT_STEPS = 40

if MODE == "tensorflow":
    import tensorflow as tf
else:
    import torch
if MODE == "horovod":
    import horovod.torch as hvd
elif MODE == "torch":
    import torch.distributed as dist


def load() -> None:
    """Read from a disk that is slow for one rank alone, or for all but read ahead."""
    if FAULT == "prefetch":
        time.sleep(AHEAD)
    elif FAULT == "input" and RANK == 1:
        time.sleep(LATE)


def compute() -> None:
    """Have a device work; for the fault `quota` it is the processor."""
    if FAULT != "quota":
        time.sleep(LONG if FAULT == "prefetch" else WORK)
        return
    used = time.thread_time() + WORK
    while time.thread_time() < used:
        pass


def save_checkpoint() -> None:
    """Write for a second, while the others wait."""
    time.sleep(1.0)


def goes_on() -> bool:
    return GO.exists() and time.monotonic() < END


if MODE != "tensorflow":

    class Photos(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 10**6

        def __getitem__(self, index: int) -> Any:
            load()
            return torch.full((64,), index % 7 / 7.0)

    class SlowBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.view_as(x)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            if FAULT == "backward" and RANK == 1:
                time.sleep(LATE)
            return grads[0]


def with_torch() -> None:
    torch.manual_seed(0)
    model: Any = torch.nn.Linear(64, 8)
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.01)
    if MODE == "horovod":
        hvd.init()
        optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
    else:
        dist.init_process_group("gloo")
        model = torch.nn.parallel.DistributedDataParallel(model)
    ahead: dict[str, Any] = {"num_workers": 2, "prefetch_factor": 8} if FAULT == "prefetch" else {}
    for step, batch in enumerate(torch.utils.data.DataLoader(Photos(), batch_size=1, **ahead), 1):
        optimizer.zero_grad()
        loss = SlowBackward.apply(model(batch)).square().mean()
        compute()
        loss.backward()
        optimizer.step()
        if FAULT == "checkpoint" and step % CHECKPOINT_STEPS == 0 and RANK == 0:
            save_checkpoint()
        if step % 20 == 0 and not all_go_on():
            break


def all_go_on() -> bool:
    """Agree on it, so that all end with the same step."""
    alive = torch.tensor([float(goes_on())])
    if MODE == "horovod":
        alive = hvd.allreduce(alive, name="goes_on", op=hvd.Min)
    else:
        dist.all_reduce(alive, op=dist.ReduceOp.MIN)
    return bool(alive.item())


def with_tensorflow() -> None:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        weights = tf.Variable(tf.zeros((64, 8)), aggregation=tf.VariableAggregation.MEAN)

    def replica(pixels: Any, alive: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(pixels @ weights - 1.0))
        weights.assign_sub(0.01 * tape.gradient(loss, weights))
        return alive

    @tf.function
    def train_step(pixels: Any, alive: Any) -> Any:
        each = strategy.run(replica, args=(pixels, alive))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None)

    alive = 2.0
    while alive == 2.0:
        load()
        compute()
        alive = float(train_step(tf.ones((4, 64)), tf.constant(float(goes_on()))))


if __name__ == "__main__":
    with_tensorflow() if MODE == "tensorflow" else with_torch()
    print(f"rank {RANK}: done", flush=True)
