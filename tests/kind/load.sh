#!/bin/bash
# Loads images into the worker nodes that lack them.
#   load.sh [IMAGE...]    default: all of the project's images that are built
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../setup/common.sh"

if [ $# = 0 ]; then
  mapfile -t built < <(docker image ls --format '{{.Repository}}:{{.Tag}}' | grep -E '^ftjob-[a-z-]+:dev$' | sort)
  set -- "${built[@]}"
fi
locked load timed "load images" python3 "$REPO/tests/kind/load.py" "$CACHE/bin/kind" "$CLUSTER" "$@"
