"""The order of files, random inputs without a clock, and what did not run, for the end of `make test`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]

# A busy machine is no failure.
settings.register_profile("ftjob", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ftjob")

LONGEST_FIRST = (
    "tests/unit/test_plan_machine.py",
    "tests/unit/test_plan_status.py",
    "tests/insight/test_placements.py",
    "tests/local/test_samples.py",
    "tests/agent/test_hooks_tensorflow.py",
    "tests/agent/test_elastic_horovod.py",
    "tests/local/test_in_place.py",
    "tests/local/test_captures_of_collectives.py",
    "tests/agent/test_hooks_torch.py",
    "tests/agent/test_watchdog.py",
    "tests/local/test_deaths.py",
    "tests/workloads/test_hybrid_vision.py",
    "tests/workloads/test_hybrid_nlp.py",
    "tests/workloads/test_quantize_export.py",
    "tests/workloads/test_input_pipeline.py",
    "tests/workloads/test_image_folder.py",
    "tests/workloads/test_tpu_tensorflow.py",
)
"""Files that keep one process busy for long: begun last, they would leave the others with nothing to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / file: place for place, file in enumerate(LONGEST_FIRST)}
    assert all(file.exists() for file in places), "LONGEST_FIRST names a file that is gone"
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = os.environ.get("FTJOB_NOT_RUN")
    if not table or hasattr(config, "workerinput"):  # one of several processes; the first one knows all
        return
    skipped = Counter(
        (report.nodeid.partition("::")[0], report.longrepr[2].removeprefix("Skipped: "))
        for report in terminalreporter.stats.get("skipped", [])
    )
    with Path(table).open("a", encoding="utf-8") as lines:
        lines.writelines(f"{count:4} of {file}: {why}\n" for (file, why), count in sorted(skipped.items()))
