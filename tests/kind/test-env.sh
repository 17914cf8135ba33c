#!/bin/bash
# Puts the packages of .venv (torch, TensorFlow, Horovod) and the workloads where the nodes see them: claims of
# storage class ftjob-test-env hold site-packages/ and workloads/, for pods of the image ftjob-test-base:dev.
# Files are linked, not copied, where the cache lies on the same disk as .venv. With the argument `tpu` also those
# of torch-xla, which needs another torch: in the folder tpu/ of the same claims.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../setup/common.sh"

cd "$REPO"
ROOT=$CACHE/cluster/test-env

swap() { # swap NEW OLD: a folder takes the place of another
  rm -rf "$2.old"
  if [ -e "$2" ]; then mv -T "$2" "$2.old"; fi
  mv -T "$1" "$2"
  rm -rf "$2.old"
}

packages() { # packages VENV
  local stamp packages
  stamp=$(cat "$1/.ftjob-setup")
  if [ "$(cat "$TARGET/stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
  packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  rm -rf "$TARGET/site-packages.new" "$TARGET/stamp"
  cp -al "$packages" "$TARGET/site-packages.new" 2>/dev/null ||
    { rm -rf "$TARGET/site-packages.new"; cp -a "$packages" "$TARGET/site-packages.new"; }
  swap "$TARGET/site-packages.new" "$TARGET/site-packages"
  echo "$stamp" >"$TARGET/stamp"
}

workloads() {
  diff -rq -x __pycache__ workloads/ftjob_workloads "$TARGET/workloads/ftjob_workloads" >/dev/null 2>&1 && return
  rm -rf "$TARGET/workloads.new" && mkdir -p "$TARGET/workloads.new"
  cp -r workloads/ftjob_workloads "$TARGET/workloads.new/"
  rm -rf "$TARGET"/workloads.new/*/__pycache__
  swap "$TARGET/workloads.new" "$TARGET/workloads"
}

prepare() { # prepare VENV TARGET
  TARGET=$2
  mkdir -p "$TARGET"
  packages "$1"
  workloads
}

locked test-env timed "test environment for the nodes" prepare .venv "$ROOT"
if [ "${1:-}" = tpu ]; then
  tests/setup/python-tpu.sh
  locked test-env timed "test environment for the nodes, torch-xla" prepare "$CACHE/venv-tpu" "$ROOT/tpu"
fi
tests/setup/images.sh test-base
tests/kind/load.sh ftjob-test-base:dev >/dev/null
