"""TensorFlow's description of a cluster, which tf.distribute finds in ``TF_CONFIG``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ftjob.strategies.base import Family
from ftjob_protocol.values.peers import VALUE_MAX, servers

if TYPE_CHECKING:
    from ftjob.models.layout import Layout, WorkerPlace

TF_DISTRIBUTE = Family("tf.distribute", ("TF_CONFIG",))

OUTSIDE = frozenset({"evaluator"})
"""Roles that no other task talks to: tf.distribute demands that they are not in the cluster
(tensorflow/python/distribute/multi_worker_util.py)."""


TASKS_MAX = (VALUE_MAX - 200) // len('"255.255.255.255:29599",')
"""So many tasks, with IPv4 addresses, fit into ``TF_CONFIG`` as Linux takes it."""


def tf_config(layout: Layout, worker: WorkerPlace) -> str:
    """Return ``TF_CONFIG`` for a worker: every task's host and port, and which of them it is itself."""
    cluster = {
        role: servers(places[0].number, len(places))
        for role, places in layout.by_role.items()
        if role not in OUTSIDE
    }
    task = {"type": worker.role, "index": worker.index}
    return json.dumps({"cluster": cluster, "task": task}, separators=(",", ":"))
