"""How long the collector takes for a large capture, and how much memory: collector.py [RANKS [MEGABYTES]]."""

from __future__ import annotations

import gzip
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from support.traces import Planned, torch_trace, write_rank, write_request

SECONDS, MEMORY = 60, 512
SHOWING = """
import sys
from ftjob.insight.__main__ import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


def planned(megabytes: float) -> Planned:
    """A trace of so many megabytes unpacked."""
    small = Planned(operators=1000, steps=5, ranks=1)
    size = len(gzip.decompress(torch_trace(small, 0)))
    return replace(small, operators=max(1, round(1000 * megabytes * 1e6 / size)))


def main() -> None:
    """Print a table."""
    ranks, megabytes = int(sys.argv[1]) if sys.argv[1:] else 64, float(sys.argv[2]) if sys.argv[2:] else 50
    plan = planned(megabytes)
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        # Four files under many names: what is measured is reading.
        originals = [
            write_rank(outputs, "c7", rank, torch_trace(plan, rank)) for rank in range(min(4, ranks))
        ]
        for rank in range(len(originals), ranks):
            write_rank(outputs, "c7", rank, b"")
            copy = (
                outputs
                / "captures"
                / "c7"
                / "raw"
                / f"rank-{rank:05d}"
                / f"rank-{rank:05d}.1.pt.trace.json.gz"
            )
            copy.unlink()
            os.link(originals[rank % 4], copy)
        write_request(outputs, "c7", ranks)
        start = time.monotonic()
        arguments = [sys.executable, "-c", SHOWING, "write", folder, "c7"]
        done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
        took = time.monotonic() - start
    mebibytes = int(done.stdout) / 1024
    print(f"collector, {ranks} ranks of {megabytes:g} MB, {min(ranks, 8)} merged:")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"  CPU     {used.ru_utime + used.ru_stime:.1f} s")
    print(f"  time    {took:.1f} s, target {SECONDS} s of 64 ranks of 50 MB")
    print(f"  memory  {mebibytes:.0f} MiB, target {MEMORY} MiB")


if __name__ == "__main__":
    main()
