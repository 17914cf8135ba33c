#!/bin/bash
# Loads images into the worker nodes that lack them; prints the names of those that it loaded.
#   load.sh [IMAGE...]    default: all of the project's images that are built
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../setup/common.sh"

workers() {
  docker ps --format '{{.Names}}' --filter "label=io.x-k8s.kind.cluster=$CLUSTER" --filter label=io.x-k8s.kind.role=worker
}
on_node() { docker exec "$1" ctr -n k8s.io "${@:2}"; }

# The node refers to an image also by `sha256:<image id>`, which only the same image has.
has() { # has NODE IMAGE ID
  local names
  names=$(on_node "$1" images ls -q)
  grep -qx "$3" <<<"$names" && grep -qx "docker.io/library/$2" <<<"$names"
}

# An image that was loaded before under the same name stays, without a name of its own: so a node would fill
# up with old builds. Running containers keep what they use.
forget_old() {
  on_node "$1" images ls | awk '
    NR == 1 {next}
    $1 ~ /^(sha256:|import-)/ {other[$1] = $3; next}
    {named[$3] = 1}
    END {for (name in other) if (!(other[name] in named)) print name}' |
    xargs -r docker exec "$1" ctr -n k8s.io images rm >/dev/null
}

load() {
  local nodes image id node missing=()
  nodes=$(workers)
  for image in "$@"; do
    id=$(docker image inspect -f '{{.Id}}' "$image")
    for node in $nodes; do
      has "$node" "$image" "$id" || { missing+=("$image"); break; }
    done
  done
  if [ ${#missing[@]} = 0 ]; then return; fi
  # One archive for all, so that layers that they share travel once.
  timed "load ${#missing[@]} images" "$CACHE/bin/kind" load docker-image --name "$CLUSTER" \
    --nodes "$(tr '\n' ',' <<<"$nodes" | sed 's/,$//')" "${missing[@]}"
  for node in $nodes; do forget_old "$node"; done
  printf '%s\n' "${missing[@]}"
}

if [ $# = 0 ]; then
  mapfile -t built < <(docker image ls --format '{{.Repository}}:{{.Tag}}' | grep -E '^ftjob-[a-z-]+:dev$' | sort)
  set -- "${built[@]}"
fi
locked load load "$@"
