#!/bin/bash
# Loads images into the worker nodes that lack them.
#   load.sh [IMAGE...]    default: those that `make images` builds; images with torch are too large for every node
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../setup/common.sh"

if [ $# = 0 ]; then
  set -- ftjob-operator:dev ftjob-workload-tensorflow:dev ftjob-workload-horovod:dev
fi
locked load timed "load images" python3 "$REPO/tests/kind/load.py" "$CACHE/bin/kind" "$CLUSTER" "$@"
