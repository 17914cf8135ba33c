"""What the GPUs of the container do, by NVIDIA's management library if it is there.

Function names and structures are those of nvml.h; only calls that every driver since 2016 has are used.
"""

from __future__ import annotations

import ctypes
from typing import Any


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class Gpus:
    """The GPUs that the container sees; none without the library or the driver."""

    def __init__(self, library: str = "libnvidia-ml.so.1") -> None:
        self._handles: list[ctypes.c_void_p] = []
        try:
            self._nvml = ctypes.CDLL(library)
            if self._nvml.nvmlInit_v2() != 0:
                return
            count = ctypes.c_uint()
            self._nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
            for index in range(count.value):
                handle = ctypes.c_void_p()
                if self._nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0:
                    self._handles.append(handle)
        except (OSError, AttributeError):
            self._handles = []

    def sample(self) -> list[dict[str, Any]]:
        """Return utilization in percent, bytes of memory and watts of each GPU."""
        return [self._one(index, handle) for index, handle in enumerate(self._handles)]

    def _one(self, index: int, handle: ctypes.c_void_p) -> dict[str, Any]:
        found: dict[str, Any] = {"index": index}
        memory, busy, power = _Memory(), _Utilization(), ctypes.c_uint()
        if self._nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(busy)) == 0:
            found["utilization"] = busy.gpu
        if self._nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0:
            found.update(memoryBytes=memory.used, memoryTotalBytes=memory.total)
        if self._nvml.nvmlDeviceGetPowerUsage(handle, ctypes.byref(power)) == 0:
            found["powerWatts"] = power.value / 1000
        return found
