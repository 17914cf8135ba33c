"""A small good job, as data, for tests to bend."""

from __future__ import annotations

from typing import Any

from ftjob.models.names import API_VERSION, GROUP, KIND, PLURAL, VERSION

JOBS = f"/apis/{GROUP}/{VERSION}/namespaces/default/{PLURAL}"
"""Path of the jobs in the API."""


def job(name: str = "digits") -> dict[str, Any]:
    """Return a job that nothing is wrong with."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "strategy": "Horovod",
            "workers": 2,
            "processesPerWorker": 2,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "trainer",
                            "image": "example/train",
                            "command": ["python", "train.py"],
                            "env": [{"name": "GREETING", "value": "hello"}],
                        },
                        {"name": "sidecar", "image": "example/sidecar"},
                    ]
                }
            },
        },
    }
