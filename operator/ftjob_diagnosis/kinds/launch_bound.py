"""The GPU waits for the CPU to launch its kernels; only a capture sees that."""

from __future__ import annotations

from typing import Optional

from ftjob_diagnosis import words
from ftjob_diagnosis.findings import Confidence, Evidence, Finding, Kind
from ftjob_diagnosis.view import Measure, View

KIND = Kind.LAUNCH_BOUND
IDLE, SHORT_US = 0.15, 20.0


def measure(view: View) -> Optional[Measure]:
    """Find that the GPU is idle between small kernels."""
    return None if view.window.launches is None else Measure((), strength(view, ()), best=Confidence.MEDIUM)


def strength(view: View, ranks: tuple[int, ...]) -> float:
    """Return the idle share against its threshold; 0 where kernels are long enough."""
    launches = view.window.launches
    return launches.idle_share / IDLE if launches and launches.median_kernel_us < SHORT_US else 0.0


def describe(view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
    """Say both numbers."""
    launches = view.window.launches
    assert launches is not None
    said = (
        f"the GPU is idle for {words.percent(launches.idle_share)} of step time "
        f"between kernels of {launches.median_kernel_us:.0f} µs"
    )
    return Finding(
        KIND,
        ranks,
        None,
        None,
        launches.idle_share,
        confidence,
        None,
        (Evidence(f"median kernel {launches.median_kernel_us:.1f} µs", "launches"),),
        "launch less: torch.compile or CUDA graphs, larger batches, fused operators",
        words.verdict("launch-bound", said, None),
    )
