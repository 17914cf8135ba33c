"""Reads what TensorFlow's profiler wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace


def space_of(path: Path) -> XSpace:
    """Return the planes of an xplane file."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2  # noqa: PLC0415 - takes seconds to import

    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    return space
