#!/bin/bash
# Leaves .venv with ftjob, its tools, TensorFlow, torch and Horovod. Does nothing if it is as the lock says.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cd "$REPO"
PYTHON=$REPO/.venv/bin/python
STAMP=$REPO/.venv/.ftjob-setup
WHEEL_SCRIPT=workloads/images/horovod/build-wheel.sh
inputs=$(cat pyproject.toml requirements.lock "$WHEEL_SCRIPT" tests/setup/python.sh | sha256sum | cut -c1-16)

# The wheel depends on the exact frameworks and Python, and on the C library that it was linked with.
wheel_folder() {
  local versions
  versions=$("$PYTHON" - <<'CODE'
import importlib.metadata, platform, sys, sysconfig
names = ("tensorflow-cpu", "torch")
parts = [f"{name}-{importlib.metadata.version(name)}" for name in names]
print("-".join([*parts, sysconfig.get_config_var("SOABI"), *platform.libc_ver()]))
CODE
  )
  echo "$CACHE/horovod/$versions-$(sha256sum "$WHEEL_SCRIPT" | cut -c1-8)"
}

build_horovod() { # build_horovod FOLDER
  compgen -G "$1/horovod-*.whl" >/dev/null && return
  need g++ g++
  need make make
  [ -f "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h" ] || apt_install python3-dev
  rm -rf "$1" "$1".*
  UV=$UV timed "build Horovod (several minutes, once)" "$WHEEL_SCRIPT" "$PYTHON" "$1.$$"
  mv "$1.$$" "$1"
}

install() {
  if [ "$(cat "$STAMP" 2>/dev/null)" = "$inputs" ]; then return; fi
  local wheels
  rm -f "$STAMP"
  "$PYTHON" -c '' 2>/dev/null || "$UV" venv -q --clear --python "$PYTHON_VERSION" .venv
  timed "install Python packages" "$UV" pip install --python "$PYTHON" -r requirements.lock
  timed "install ftjob" "$UV" pip install --python "$PYTHON" --no-deps -e .
  wheels=$(wheel_folder)
  locked horovod build_horovod "$wheels"
  timed "install Horovod" "$UV" pip install --python "$PYTHON" --no-deps "$wheels"/horovod-*.whl
  timed "compile Python packages" compile_packages "$PYTHON"
  if ! grep -q '+ horovod' "$CACHE/log/install-Horovod.log"; then echo "$inputs" >"$STAMP"; return; fi
  # A wheel that does not fit must not wait for a test. torch first: the other way round LLVM's options clash.
  timed "import the frameworks" "$PYTHON" -c 'import torch, horovod.torch, tensorflow, horovod.tensorflow'
  echo "$inputs" >"$STAMP"
}

UV=$(find_uv)
locked "venv-$(sha256sum <<<"$REPO" | cut -c1-8)" install
