"""Who has used the processor: the processes that this one has started, by name."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path


def cpu_seconds() -> dict[str, float]:
    """Return the processor time so far of this process (``client``) and of its children."""
    me = os.getpid()
    found: dict[str, float] = defaultdict(float)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            fields = rest.split()
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if me in (int(folder.name), int(fields[1])):
            operator = b"ftjob.control" in words
            label = "client" if int(folder.name) == me else "operator" if operator else name
            found[label] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def used_since(before: dict[str, float]) -> str:
    """Return the seconds that each process has used since then, the busiest first."""
    used = {name: seconds - before.get(name, 0.0) for name, seconds in cpu_seconds().items()}
    busiest = sorted(used.items(), key=lambda item: -item[1])
    shown = [f"{name} {seconds:.1f}" for name, seconds in busiest if seconds >= 0.05]
    return f"CPU seconds {sum(used.values()):.1f}: {', '.join(shown)}"
