"""How a TensorFlow program begins: with GPU memory that grows, and from the newest checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from pathlib import Path


def let_memory_grow() -> None:
    """Take of each GPU's memory what is needed; by default TensorFlow takes nearly all of it at once.

    Call it before anything touches the devices.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, enable=True)


def restore(
    checkpoint: tf.train.Checkpoint, folder: Path, options: tf.train.CheckpointOptions | None = None
) -> tf.train.CheckpointManager:
    """Read the newest checkpoint of a folder, if there is one; return the manager that writes the next."""
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)
    if manager.latest_checkpoint:
        checkpoint.restore(manager.latest_checkpoint, options=options).assert_existing_objects_matched()
    return manager
