"""Builds the agent's zipapp from the sources beside this package. The same sources give the same bytes.

As a program it needs no other package, and writes the zipapp: ``python -m ftjob.agent_zipapp FILE``.
"""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path

PACKAGES = ("ftjob_agent", "ftjob_diagnosis", "ftjob_protocol")
MAIN = "import sys\nfrom ftjob_agent.main import main\nsys.exit(main())\n"
EPOCH = (1980, 1, 1, 0, 0, 0)


def build_zipapp() -> bytes:
    """Return the zipapp."""
    top = Path(__file__).parents[1]
    file = io.BytesIO()
    file.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_entry("__main__.py"), MAIN)
        for package in PACKAGES:
            for source in sorted((top / package).rglob("*.py")):
                archive.writestr(_entry(source.relative_to(top).as_posix()), source.read_bytes())
    return file.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    """Return a member without anything of this machine in it."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    info.create_system = 3
    return info


def write(output: Path) -> None:
    """Write the zipapp under another name and rename it, so that nobody sees half of it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f"{output.name}.{os.getpid()}")
    partial.write_bytes(build_zipapp())
    partial.chmod(0o755)
    partial.replace(output)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
