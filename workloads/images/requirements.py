"""Print what an image has to install: `requirements.py EXTRA...` or `requirements.py --overrides`."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
if sys.argv[1:] == ["--overrides"]:
    print(*project["tool"]["uv"]["override-dependencies"], sep="\n")
else:
    for extra in sys.argv[1:]:
        print(*project["project"]["optional-dependencies"][extra], sep="\n")
