"""The tpu_torch program with one defect: every device gets the whole batch, and trains alone."""

import sys

from torch_xla.distributed.spmd import ShardingSpec

from ftjob_workloads import tpu_torch


def whole(devices: tpu_torch.Devices, dimensions: int) -> ShardingSpec:
    return ShardingSpec(devices.mesh, (None,) * dimensions)


if __name__ == "__main__":
    tpu_torch.Devices.split = whole  # type: ignore[assignment,method-assign]
    sys.exit(tpu_torch.main())
