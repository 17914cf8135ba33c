"""Build the agent's zipapp: `build-agent.py OUTPUT`. The same sources give the same bytes."""

import os
import sys
import zipfile
from pathlib import Path

OPERATOR = Path(__file__).parents[1]
PACKAGES = ("ftjob_agent", "ftjob_protocol")
MAIN = "import sys\nfrom ftjob_agent.main import main\nsys.exit(main())\n"
EPOCH = (1980, 1, 1, 0, 0, 0)


def entry(name: str) -> zipfile.ZipInfo:
    """Return a member without anything of this machine in it."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    info.create_system = 3
    return info


def build(output: Path) -> None:
    """Write the zipapp under another name and rename it, so that nobody sees half of it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f"{output.name}.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(entry("__main__.py"), MAIN)
            for package in PACKAGES:
                for source in sorted((OPERATOR / package).rglob("*.py")):
                    archive.writestr(entry(source.relative_to(OPERATOR).as_posix()), source.read_bytes())
    partial.chmod(0o755)
    partial.replace(output)


build(Path(sys.argv[1]))
