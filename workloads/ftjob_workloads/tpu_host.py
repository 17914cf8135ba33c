"""Which TPU this pod may use, by its environment and its device files; no framework is asked.

A framework that looks for a TPU where there is none may wait for minutes, or end the process. So the
programs look first, and only then initialize. What they find:

* ``KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS``: legacy TPU nodes, which are reached over the network;
* chips of this host: ``/dev/accel0``…, from v5e on ``/dev/vfio/0``…, which the device plugin hands to the
  container (https://cloud.google.com/kubernetes-engine/docs/concepts/tpus);
* ``TPU_WORKER_HOSTNAMES`` and ``TPU_WORKER_ID``: the hosts of a slice, and which of them this is;
* ``MEGASCALE_SLICE_ID``: which slice of many.
"""

from __future__ import annotations

import importlib.util
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT = 8470
"""TensorFlow's port on a TPU host; the one of the legacy TPU nodes."""


@dataclass(frozen=True)
class TpuHost:
    """What a pod knows about its TPU."""

    endpoints: tuple[str, ...]
    """Legacy TPU nodes, as ``host:port``."""
    chips: int
    """Chips of this host that the container may open."""
    hostnames: tuple[str, ...]
    """The hosts of this slice; at least one."""
    worker: int
    """Index of this host among them."""
    slice: int
    """Index of the slice."""

    @classmethod
    def look(cls, env: Mapping[str, str], dev: Path = Path("/dev")) -> TpuHost:
        """Read the environment and the device files."""
        names = _list(env.get("TPU_WORKER_HOSTNAMES", ""))
        return cls(
            endpoints=tuple(
                with_port(e.removeprefix("grpc://"))
                for e in _list(env.get("KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", ""))
            ),
            chips=len([*dev.glob("accel[0-9]*"), *dev.glob("vfio/[0-9]*")]),
            hostnames=names or ("localhost",),
            worker=int(env.get("TPU_WORKER_ID") or 0),
            slice=int(env.get("MEGASCALE_SLICE_ID") or 0),
        )

    @property
    def is_first(self) -> bool:
        """Whether this is the host that trains if there is no TPU: one is enough for the CPU."""
        return self.worker == self.slice == 0

    @property
    def servers(self) -> tuple[str, ...]:
        """TensorFlow's servers that hold the TPU, as ``host:port``; none if we open the chips ourselves."""
        if self.endpoints or len(self.hostnames) == 1:
            return self.endpoints
        return tuple(with_port(name) for name in self.hostnames)

    def choose(self, asked: str, cpu_devices: int) -> str:
        """Decide what to train on, and say so if it is not a TPU; exit if a demanded TPU is missing.

        Parameters
        ----------
        asked
            The option ``--device``: ``tpu``, ``cpu``, or ``auto`` for a TPU if there is one.
        cpu_devices
            How many take the place of a TPU.

        Returns
        -------
        str
            ``TPU`` or ``CPU``; empty if another host trains on its CPU.
        """
        reason = "--device cpu" if asked == "cpu" else self.unusable()
        if not reason:
            return "TPU"
        if asked == "tpu":
            sys.exit(f"no TPU: {reason}")
        if not self.is_first:
            print(f"no TPU ({reason}): the first worker trains, there is nothing to do for this one")
            return ""
        print(f"no TPU ({reason}): training on {cpu_devices} CPU devices", flush=True)
        return "CPU"

    def unusable(self, wait_seconds: float = 5.0) -> str:
        """Say why there is no TPU to use, in a few words; empty if there is one.

        Parameters
        ----------
        wait_seconds
            How long an endpoint may take to answer.
        """
        if self.endpoints:
            silent = [endpoint for endpoint in self.endpoints if not _answers(endpoint, wait_seconds)]
            return f"{silent[0]} does not answer" if silent else ""
        if not self.chips:
            return "no chip in /dev, and KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS is not set"
        if importlib.util.find_spec("libtpu") is None:
            return f"{self.chips} chips, but no libtpu: this image was built for the CPU"
        return ""


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def with_port(name: str) -> str:
    """Return ``host:port``, with TensorFlow's port if there is none."""
    return name if ":" in name else f"{name}:{PORT}"


def _answers(endpoint: str, wait_seconds: float) -> bool:
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), wait_seconds).close()
    except OSError:
        return False
    return True
