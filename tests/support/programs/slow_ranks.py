"""Rank 1 of two waits for its data, until GO is gone: `slow_ranks.py torch|horovod|tensorflow GO`."""

import os
import sys
import time
from pathlib import Path
from typing import Any

MODE, GO = sys.argv[1], Path(sys.argv[2])
RANK = int(os.environ["FTJOB_RANK"])
WORK, LATE = 0.03, 0.04

if MODE == "tensorflow":
    import tensorflow as tf
else:
    import torch
if MODE == "horovod":
    import horovod.torch as hvd
elif MODE == "torch":
    import torch.distributed as dist


def load() -> None:
    """Read from a disk that is slow for one rank alone."""
    time.sleep(LATE if RANK == 1 else 0.001)


def with_torch() -> None:
    class Photos(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 10**6

        def __getitem__(self, index: int) -> Any:
            load()
            return torch.full((64,), index % 7 / 7.0)

    torch.manual_seed(0)
    model: Any = torch.nn.Linear(64, 8)
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.01)
    goes_on = torch.ones(1)
    if MODE == "horovod":
        hvd.init()
        optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
    else:
        dist.init_process_group("gloo")
        model = torch.nn.parallel.DistributedDataParallel(model)
    for step, batch in enumerate(torch.utils.data.DataLoader(Photos(), batch_size=1)):
        optimizer.zero_grad()
        loss = model(batch).square().mean()
        time.sleep(WORK)  # the device's
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            goes_on.fill_(GO.exists())
            if MODE == "horovod":
                goes_on = hvd.allreduce(goes_on, name="goes_on", op=hvd.Min)
            else:
                dist.all_reduce(goes_on, op=dist.ReduceOp.MIN)
            if not goes_on.item():
                break


def with_tensorflow() -> None:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        weights = tf.Variable(tf.zeros((64, 8)), aggregation=tf.VariableAggregation.MEAN)

    def replica(pixels: Any, goes_on: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(pixels @ weights - 1.0))
        weights.assign_sub(0.01 * tape.gradient(loss, weights))
        return goes_on

    @tf.function
    def train_step(pixels: Any, goes_on: Any) -> Any:
        each = strategy.run(replica, args=(pixels, goes_on))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None)

    alive = 2.0
    while alive == 2.0:
        load()
        time.sleep(WORK)
        alive = float(train_step(tf.ones((4, 64)), tf.constant(float(GO.exists()))))


with_tensorflow() if MODE == "tensorflow" else with_torch()
print(f"rank {RANK}: done", flush=True)
