"""Feed a training from JPEG files with tf.data: what each optimisation gains, and shards that fit together.

What it shows, on pieces of two photographs that it writes as files:

* a naive pipeline (read, decode, resize, augment, batch, one image after the other) and, each measured beside
  it in alternating epochs of a real training: parallel map, prefetch, vectorized map, cache in memory, cache
  in a file, options that parallelize the naive pipeline without a change to it, and all of them together;
* that they are all the same pipeline: equal images in an equal order, whatever the optimisation. For that,
  augmentation is a function of seed, epoch and sample, and the cache comes before shuffle and augmentation;
* a cache that no longer needs the files;
* sharding by worker *before* shuffling: the shards are disjoint, and nothing is missing. After a shuffle of
  its own in each worker, some samples are seen twice and others never, and the program counts them.

With ftjob every worker reads its own shard; worker 0 also measures.

    python -m ftjob_workloads.input_pipeline
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ftjob_workloads import life

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

PHOTOGRAPHS = ("china", "flower")
"""In scikit-learn (CC BY 2.0, by danielbuechele and vultilion on Flickr), 640 x 427 pixels."""
PIECE = 400
"""Height and width of the pieces, in pixels."""
SIZE = 96
"""Height and width of what the model sees."""
AUTOTUNE = tf.data.AUTOTUNE


def write_pieces(folder: Path, count: int, seed: int) -> list[str]:
    """Cut so many pieces out of the photographs, and write each as a JPEG file.

    Workers may do it at the same time: the folder appears with all that is in it.

    Returns
    -------
    list of str
        The paths; a piece's label is 0 for china and 1 for flower, in turns.
    """
    names = [f"{number:05d}-{PHOTOGRAPHS[number % 2]}.jpg" for number in range(count)]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
        fresh.chmod(0o755)
        whole = [
            tf.io.decode_jpeg((files("sklearn.datasets.images") / f"{name}.jpg").read_bytes())
            for name in PHOTOGRAPHS
        ]
        random = np.random.default_rng(seed)
        for number, name in enumerate(names):
            photograph = whole[number % 2]
            top, left = (random.integers(extent - PIECE + 1) for extent in photograph.shape[:2])
            piece = photograph[top : top + PIECE, left : left + PIECE]
            (fresh / name).write_bytes(tf.io.encode_jpeg(piece, quality=90).numpy())
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            shutil.rmtree(fresh)  # another worker was first
    return [str(folder / name) for name in names]


@dataclass(frozen=True)
class Pipeline:
    """A pipeline over some files; the flags are what can be done better than naively."""

    paths: Sequence[str]
    batch: int
    seed: int
    epoch: int = 0
    shards: int = 1
    shard: int = 0
    parallel: bool = False
    prefetch: bool = False
    vectorize: bool = False
    cache: str | None = None
    """A file, or "" for memory."""
    options: tf.data.Options = field(default_factory=tf.data.Options)

    def build(self) -> tf.data.Dataset:
        """Return batches of images (n, SIZE, SIZE, 3), labels and ids."""
        calls = AUTOTUNE if self.parallel else None
        ids = np.arange(len(self.paths))
        samples = tf.data.Dataset.from_tensor_slices((list(self.paths), ids % 2, ids))
        # Before anything that costs time, and before the shuffle, or the shards would not fit together.
        samples = samples.shard(self.shards, self.shard)
        if self.cache is None:
            samples = self._shuffle(samples).map(_load, num_parallel_calls=calls)
        else:
            # What differs from epoch to epoch comes after the cache, or it would be frozen.
            samples = self._shuffle(samples.map(_load, num_parallel_calls=calls).cache(self.cache))
        augment = partial(_augment, tf.random.stateless_uniform((len(ids), 2), (self.seed, self.epoch)))
        if self.vectorize:
            samples = samples.batch(self.batch).map(augment, num_parallel_calls=calls)
        else:
            samples = samples.map(augment, num_parallel_calls=calls).batch(self.batch)
        if self.prefetch:
            samples = samples.prefetch(AUTOTUNE)
        return samples.with_options(self.options)

    def _shuffle(self, samples: tf.data.Dataset) -> tf.data.Dataset:
        # A buffer smaller than the data shuffles only what is near. The order is a function of the epoch.
        return samples.shuffle(len(self.paths), seed=self.seed + self.epoch, reshuffle_each_iteration=False)

    def ids(self) -> list[int]:
        """Return the samples' ids in the order of an epoch."""
        return [int(i) for _, _, ids in self.build() for i in ids]


def _load(path: tf.Tensor, label: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, ...]:
    image = tf.image.resize(tf.io.decode_jpeg(tf.io.read_file(path), channels=3), (SIZE, SIZE))
    return tf.cast(tf.round(image), tf.uint8), label, number  # a byte each: a quarter of the cache


def _augment(
    chances: tf.Tensor, image: tf.Tensor, label: tf.Tensor, number: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """Flip half of the images, and brighten or darken all; works on one image or on a batch."""
    mine = tf.gather(chances, number)[..., None, None, None, :]
    image = tf.cast(image, tf.float32) / 255
    image = tf.where(mine[..., 0] < 0.5, tf.reverse(image, axis=[-2]), image)
    return tf.clip_by_value(image * (0.8 + 0.4 * mine[..., 1]), 0, 1), label, number


class Consumer:
    """A small network that learns to tell the two photographs apart: what the pipeline is for."""

    def __init__(self) -> None:
        self.model = keras.Sequential(
            [
                keras.Input((SIZE, SIZE, 3)),
                keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
                keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(2),
            ]
        )
        self.optimizer = keras.optimizers.Adam(1e-3)
        self.optimizer.build(self.model.trainable_variables)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(reduce_retracing=True)
    def learn(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Do one step."""
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(images, training=True))
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def epoch(self, dataset: tf.data.Dataset) -> float:
        """Learn from all batches; return the seconds it took."""
        start = time.perf_counter()
        for images, labels, _ in dataset:
            self.learn(images, labels)
        return time.perf_counter() - start


def variants(naive: Pipeline, cache_file: str) -> dict[str, Pipeline]:
    """Return the naive pipeline with each optimisation, and with all."""
    automatic = tf.data.Options()
    automatic.experimental_optimization.map_parallelization = True
    automatic.experimental_optimization.inject_prefetch = True
    automatic.threading.private_threadpool_size = max(2, os.cpu_count() or 2)
    return {
        "parallelMap": replace(naive, parallel=True),
        "prefetch": replace(naive, prefetch=True),
        "vectorizedMap": replace(naive, vectorize=True),
        "automatic": replace(naive, options=automatic),
        "cacheInMemory": replace(naive, cache=""),
        "cacheInFile": replace(naive, cache=cache_file),
        "all": replace(naive, cache="", parallel=True, prefetch=True, vectorize=True),
    }


def measure(name: str, naive: Pipeline, better: Pipeline, consumer: Consumer, epochs: int) -> dict[str, Any]:
    """Compare a pipeline with the naive one: what it delivers, and how long a training with it takes."""
    plain, improved = naive.build(), better.build()
    images, ids = _all(plain)
    start = time.perf_counter()
    its_images, its_ids = _all(improved)  # fills the cache, if there is one
    first = time.perf_counter() - start
    life.require(its_ids == ids, f"{name} delivers the samples in another order")
    difference = float(np.abs(its_images - images).max())
    life.require(difference < 1e-5, f"{name} delivers other images: {difference:.1e}")
    consumer.epoch(plain)  # traces the training step, also for the last batch, which is smaller
    times: dict[str, list[float]] = {"naive": [], name: []}
    for _ in range(epochs):  # alternating: what else the machine does hits both
        times["naive"].append(consumer.epoch(plain))
        times[name].append(consumer.epoch(improved))
    naively, now = (len(ids) / float(np.median(t)) for t in times.values())
    print(f"{name:>14} {naively:8.0f} {now:8.0f} images/s {now / naively:7.2f} x")
    return {
        "imagesPerSecond": {"naive": naively, "improved": now},
        "gain": now / naively,
        "firstEpochSeconds": first,
        "epochSeconds": times,
        "samples": len(ids),
        "difference": difference,
    }


def _all(dataset: tf.data.Dataset) -> tuple[Any, list[int]]:
    batches = [(images.numpy(), ids.numpy()) for images, _, ids in dataset]
    return np.concatenate([b[0] for b in batches]), np.concatenate([b[1] for b in batches]).tolist()


def shuffle(naive: Pipeline) -> dict[str, Any]:
    """Check that each epoch has all samples, in an order that the seed and the epoch's number determine."""
    orders = [replace(naive, epoch=epoch).ids() for epoch in (0, 0, 1)]
    everything = list(range(len(naive.paths)))
    life.require(all(sorted(order) == everything for order in orders), "an epoch lacks samples")
    life.require(orders[0] == orders[1], "the same epoch has two orders")
    life.require(orders[0] != orders[2] and orders[0] != everything, "nothing is shuffled")
    return {"samples": len(everything), "firstIds": [order[:5] for order in orders]}


def shards(naive: Pipeline, count: int) -> dict[str, Any]:
    """Check that the shards are disjoint and complete, and count what goes wrong after a shuffle."""
    parts = [replace(naive, shards=count, shard=shard).ids() for shard in range(count)]
    together = sorted(sample for part in parts for sample in part)
    life.require(together == list(range(len(naive.paths))), "the shards overlap, or something is missing")
    late = [  # each worker has shuffled by itself, as with no seed, before it takes its share
        [
            int(i)
            for i in tf.data.Dataset.range(len(naive.paths)).shuffle(10**6, seed=shard).shard(count, shard)
        ]
        for shard in range(count)
    ]
    seen = {sample for part in late for sample in part}
    missing = len(naive.paths) - len(seen)
    print(f"{count} shards of {[len(part) for part in parts]} samples: disjoint and complete")
    print(f"sharded after the shuffle: {missing} samples are never seen, as many are seen twice or more")
    life.require(missing > 0, "sharding after a shuffle did no harm: nothing is shuffled")
    return {"lengths": [len(part) for part in parts], "missingIfShardedAfterShuffle": missing}


def cache(naive: Pipeline) -> dict[str, Any]:
    """Take the files away after the first epoch: the cache does not miss them, the naive pipeline does."""
    with tempfile.TemporaryDirectory() as folder:
        few = [shutil.copy(path, folder) for path in naive.paths[: 2 * naive.batch]]
        small = replace(naive, paths=few)
        cached, plain = replace(small, cache="").build(), small.build()
        before, _ = _all(cached)
        for path in few:
            Path(path).unlink()
        after, _ = _all(cached)
        try:
            _all(plain)
        except tf.errors.NotFoundError:
            life.require(bool(np.array_equal(before, after)), "the cache has changed the images")
            return {"imagesWithoutFiles": len(after)}
    raise life.Missed("a pipeline without a cache has read files that are gone")


def own_shard(mine: Pipeline) -> dict[str, Any]:
    """Read this worker's shard."""
    ids = mine.ids()
    print(f"worker {mine.shard} of {mine.shards}: {len(ids)} of {len(mine.paths)} images")
    return {"shard": mine.shard, "shards": mine.shards, "ids": ids}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    env = os.environ
    outputs = Path(env.get("FTJOB_OUTPUTS", "outputs"))
    p = life.parser("input_pipeline", __doc__)
    add = p.add_argument
    add("--images", type=int, default=500, help="files to write and read (default: %(default)s)")
    add("--batch-size", type=int, default=32, help="(default: %(default)s)")
    add("--epochs", type=int, default=5, help="of each pipeline to measure (default: %(default)s)")
    add("--data-dir", type=Path, default=outputs / "images", help="default: $FTJOB_OUTPUTS/images")
    add("--shard-index", type=int, default=int(env.get("FTJOB_RANK", "0")), help="default: the rank")
    add("--shard-count", type=int, default=int(env.get("FTJOB_WORLD_SIZE", "1")), help="default: the ranks")
    args = p.parse_args(argv)
    if args.smoke:
        args.images, args.epochs = 128, 3
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Check and measure part after part, and write what was found.

    Returns
    -------
    int
        The exit code: 0, 1 if a check failed, 143 if SIGTERM came first.
    """
    args = parse(argv)
    folder = args.data_dir / f"{args.images}-{args.seed}"
    naive = Pipeline(write_pieces(folder, args.images, args.seed), args.batch_size, args.seed)
    mine = replace(naive, shards=args.shard_count, shard=args.shard_index)
    parts: dict[str, Callable[[], dict[str, Any]]] = {"ownShard": partial(own_shard, mine)}
    with tempfile.TemporaryDirectory() as scratch:
        if args.shard_index == 0:
            parts |= {
                "shuffle": partial(shuffle, naive),
                "shards": partial(shards, naive, 3),
                "cache": partial(cache, naive),
            }
            consumer = Consumer()
            for name, better in variants(naive, f"{scratch}/cache").items():
                parts[name] = partial(measure, name, naive, better, consumer, args.epochs)
        return life.do_parts(args, parts, args.shard_index)


if __name__ == "__main__":
    sys.exit(main())
