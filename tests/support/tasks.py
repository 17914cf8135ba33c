"""The environment that ftjob gives the processes of a distributed TensorFlow or JAX job, on this machine."""

from __future__ import annotations

import json

from support.ports import free_port


def tensorflow_tasks(**replicas: int) -> dict[str, dict[str, str]]:
    """Return each task's variables by its name, such as ``worker-1``; ranks follow the order of the roles."""
    cluster = {role: [f"127.0.0.1:{free_port()}" for _ in range(n)] for role, n in replicas.items()}
    names = [(role, index) for role, n in replicas.items() for index in range(n)]
    served = {role: servers for role, servers in cluster.items() if role != "evaluator"}
    return {
        f"{role}-{index}": {
            "TF_CONFIG": json.dumps({"cluster": served, "task": {"type": role, "index": index}}),
            "FTJOB_ROLE": role,
            "FTJOB_INDEX": str(index),
            "FTJOB_RANK": str(rank),
            "FTJOB_WORLD_SIZE": str(len(names)),
            "FTJOB_NODE_NAME": f"node-of-{role}-{index}",
        }
        for rank, (role, index) in enumerate(names)
    }


def jax_processes(count: int) -> list[dict[str, str]]:
    """Return each process's variables."""
    port = free_port()
    return [
        {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
            "JAX_NUM_PROCESSES": str(count),
            "JAX_PROCESS_ID": str(rank),
            "FTJOB_RANK": str(rank),
            "FTJOB_WORLD_SIZE": str(count),
            "FTJOB_NODE_NAME": f"node-of-{rank}",
        }
        for rank in range(count)
    ]
