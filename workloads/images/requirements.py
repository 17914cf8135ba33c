"""Print what an image installs: `requirements.py EXTRA...`, `--dependencies EXTRA...`, `--overrides`."""

import sys
import tomllib
from pathlib import Path

configuration = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
project = configuration["project"]
for name in sys.argv[1:]:
    if name == "--overrides":
        print(*configuration["tool"]["uv"]["override-dependencies"], sep="\n")
    elif name == "--dependencies":
        print(*project["dependencies"], sep="\n")
    else:
        print(*project["optional-dependencies"][name], sep="\n")
