#!/bin/bash
# Leaves .venv with ftjob, its tools, TensorFlow, torch and Horovod. Does nothing if it is as the lock says.
#   python.sh          all of it
#   python.sh check    what `make check` needs: ftjob and the tools, without any framework
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cd "$REPO"
PYTHON=$REPO/.venv/bin/python
LIGHT=$REPO/.venv/.ftjob-check WHOLE=$REPO/.venv/.ftjob-setup  # the inputs of what is installed
WHEEL_SCRIPT=workloads/images/horovod/build-wheel.sh
inputs=$(cat pyproject.toml requirements.lock "$WHEEL_SCRIPT" tests/setup/python.sh | sha256sum | cut -c1-16)

installed() { [ "$(cat "$1" 2>/dev/null)" = "$inputs" ]; }

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

# The frameworks come on top of it, at the versions of the same lock: they change nothing of what is here.
install_light() {
  if installed "$LIGHT"; then return; fi
  rm -f "$LIGHT" "$WHOLE"
  "$PYTHON" -c '' 2>/dev/null || "$UV" venv -q --clear --python "$PYTHON_VERSION" .venv
  timed "install tools" "$UV" pip install --python "$PYTHON" -r pyproject.toml --extra operator --extra dev -c requirements.lock
  timed "install ftjob" "$UV" pip install --python "$PYTHON" --no-deps -e .
  echo "$inputs" >"$LIGHT"
}

install() {
  install_light
  if installed "$WHOLE"; then return; fi
  local wheels
  timed "install Python packages" "$UV" pip install --python "$PYTHON" -r requirements.lock
  wheels=$(wheel_folder)
  locked horovod build_horovod "$wheels"
  timed "install Horovod" "$UV" pip install --python "$PYTHON" --no-deps "$wheels"/horovod-*.whl
  timed "compile Python packages" compile_packages "$PYTHON"
  # A wheel that does not fit must not wait for a test. torch first: the other way round LLVM's options clash.
  if grep -q '+ horovod' "$CACHE/log/install-Horovod.log"; then
    timed "import the frameworks" "$PYTHON" -c 'import torch, horovod.torch, tensorflow, horovod.tensorflow'
  fi
  echo "$inputs" >"$WHOLE"
}

case ${1:-} in
  check) what=install_light stamp=$LIGHT ;;
  *) what=install stamp=$WHOLE ;;
esac
if installed "$stamp"; then exit; fi
UV=$(find_uv)
locked "venv-$(sha256sum <<<"$REPO" | cut -c1-8)" "$what"
