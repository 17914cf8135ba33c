"""What the sampler says of GPUs, from a library with the functions and types of nvml.h, called as C calls."""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, c_int, c_uint, c_ulonglong, c_void_p
from typing import TYPE_CHECKING, Any

from ftjob_agent.watching.nvml import Gpus

if TYPE_CHECKING:
    import pytest

GIB = 1 << 30
NOT_SUPPORTED = 3
"""NVML_ERROR_NOT_SUPPORTED."""


class Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = [("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong)]


class Utilization(ctypes.Structure):
    """nvmlUtilization_t."""

    _fields_ = [("gpu", c_uint), ("memory", c_uint)]


class Library:
    """Two GPUs; the second one does not measure its power, as cards for desktops do not."""

    def __init__(self, *, init: int = 0) -> None:
        handles = {0x7F0000001000: 0, 0x7F0000002000: 1}
        by_index = {index: handle for handle, index in handles.items()}

        def count(found: Any) -> int:
            found[0] = len(handles)
            return 0

        def handle_of(index: int, handle: Any) -> int:
            handle[0] = by_index[index]
            return 0

        def utilization(handle: int, found: Any) -> int:
            found[0].gpu, found[0].memory = 90 + handles[handle], 40
            return 0

        def memory(handle: int, found: Any) -> int:
            found[0].total, found[0].used = 80 * GIB, (10 + handles[handle]) * GIB
            found[0].free = found[0].total - found[0].used
            return 0

        def power(handle: int, found: Any) -> int:
            found[0] = 312_500
            return NOT_SUPPORTED if handles[handle] else 0

        self.nvmlInit_v2 = CFUNCTYPE(c_int)(lambda: init)
        self.nvmlDeviceGetCount_v2 = CFUNCTYPE(c_int, POINTER(c_uint))(count)
        self.nvmlDeviceGetHandleByIndex_v2 = CFUNCTYPE(c_int, c_uint, POINTER(c_void_p))(handle_of)
        self.nvmlDeviceGetUtilizationRates = CFUNCTYPE(c_int, c_void_p, POINTER(Utilization))(utilization)
        self.nvmlDeviceGetMemoryInfo = CFUNCTYPE(c_int, c_void_p, POINTER(Memory))(memory)
        self.nvmlDeviceGetPowerUsage = CFUNCTYPE(c_int, c_void_p, POINTER(c_uint))(power)


def gpus(monkeypatch: pytest.MonkeyPatch, library: Any) -> Gpus:
    """Return the GPUs that this library knows of; ctypes is not told the types of its functions, as usual."""
    untyped = {
        name: CFUNCTYPE(c_int)(ctypes.cast(function, c_void_p).value or 0)
        for name, function in vars(library).items()
    }
    monkeypatch.setattr(ctypes, "CDLL", lambda _: type("Loaded", (), untyped))
    found = Gpus()
    found.keep = library  # type: ignore[attr-defined]  # its functions must live as long
    return found


def test_each_gpu_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpus(monkeypatch, Library()).sample() == [
        {
            "index": 0,
            "utilization": 90,
            "memoryBytes": 10 * GIB,
            "memoryTotalBytes": 80 * GIB,
            "powerWatts": 312.5,
        },
        {"index": 1, "utilization": 91, "memoryBytes": 11 * GIB, "memoryTotalBytes": 80 * GIB},
    ]


def test_without_a_driver_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpus(monkeypatch, Library(init=9)).sample() == []


def test_without_the_library_there_are_none() -> None:
    assert Gpus("libftjob-no-such-library.so.1").sample() == []
