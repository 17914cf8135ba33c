"""TAB without a terminal: what readline does with the functions that `complete` names."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

# As the package installs it, with more patience than a person at TAB has, for a busy machine.
_ENTRY = """\
#!{python}
import os, sys
from ftjob.cli.completion import candidates
from {module} import {function}
candidates.SECONDS = float(os.environ.get("PATIENCE", "60"))
sys.exit({function}())
"""
# `_get_comp_words_by_ref` is of the package bash-completion, which kubectl's script asks for.
_TAB = """\
_get_comp_words_by_ref() {
  words=($COMP_LINE)
  if [[ $COMP_LINE == *" " ]]; then words+=(""); fi
  cword=$((${#words[@]} - 1)) cur=${words[-1]} prev=${words[-2]}
}
source <("$1" completion bash)
tab() {
  local found=($(complete -p "${1%% *}")) place
  for place in "${!found[@]}"; do if [[ ${found[place]} == -F ]]; then break; fi; done
  COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMPREPLY=()
  "${found[place + 1]}" "${1%% *}" "" ""
  (IFS=,; echo "${COMPREPLY[*]-}")
}
"""


def install(folder: Path) -> None:
    """Put the programs of the package into a folder."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for name, entry in project["scripts"].items():
        module, _, function = entry.partition(":")
        path = folder / name
        path.write_text(_ENTRY.format(python=sys.executable, module=module, function=function))
        path.chmod(0o755)


def tabs(*lines: str) -> dict[str, list[str]]:
    """Return what bash has for each line, which all begin with the same program, sorted."""
    script = _TAB + "\n".join(f"tab {shlex.quote(line)}" for line in lines)
    program = lines[0].split()[0]
    command = ["bash", "--norc", "-c", script, "bash", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [sorted(filter(None, map(str.strip, line.split(",")))) for line in done.stdout.splitlines()]
    return dict(zip(lines, found, strict=True))
