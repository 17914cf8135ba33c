"""What did not run, for the table at the end of `make test`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


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
