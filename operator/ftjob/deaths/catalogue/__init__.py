"""The known ways to die, by subject. The first row that knows the words is the one that counts."""

from __future__ import annotations

from ftjob.deaths.catalogue import (
    cluster,
    collectives,
    data,
    frameworks,
    gpus,
    memory,
    numbers,
    programs,
    storage,
    waiting,
)

BY_SUBJECT = {
    "Memory": memory.ROWS,
    "GPUs": gpus.ROWS,
    "Ranks that talk with each other": collectives.ROWS,
    "Horovod, TensorFlow, Keras, torch and JAX": frameworks.ROWS,
    "Data loaders, processes and threads": data.ROWS,
    "Checkpoints, files and volumes": storage.ROWS,
    "Numbers that are not finite": numbers.ROWS,
    "Programs, modules and libraries": programs.ROWS,
    "The cluster ends a pod": cluster.ROWS,
    "The job waits": waiting.ROWS,
}
ROWS = tuple(row for rows in BY_SUBJECT.values() for row in rows)
