#!/bin/bash
# Removes the cluster and what its claims held. Images and caches stay.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../setup/common.sh"

down() {
  docker info >/dev/null 2>&1 || { say "no container engine runs, so no cluster does"; return; }
  "$REPO/tests/setup/tools.sh" kind >/dev/null
  "$CACHE/bin/kind" delete cluster --name "$CLUSTER"
  rm -rf "$CACHE/cluster/shared"
}

locked kind down
