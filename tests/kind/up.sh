#!/bin/bash
# Leaves a cluster `ftjob` (context kind-ftjob) with shared storage, the project's images and the chart in it.
#   up.sh            all of it
#   up.sh cluster    only the cluster and its storage classes
# What is up already and still right is kept: a second run loads what has changed and upgrades the chart.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../setup/common.sh"
. "$REPO/tests/setup/images-lib.sh"

cd "$REPO"
"$REPO/tests/setup/docker.sh"
KIND=$(tests/setup/tools.sh kind) KUBECTL=$(tests/setup/tools.sh kubectl)
CONTROL_PLANE=$CLUSTER-control-plane
k() { "$KUBECTL" --context "kind-$CLUSTER" "$@"; }

# The nodes' shared folders lie in the cache, so that a cluster outlives the checkout that made it.
link_folders() {
  mkdir -p "$CACHE/cluster/shared" "$CACHE/cluster/test-env"
  chmod 2777 "$CACHE/cluster/shared"
  [ -e .kind ] || ln -sfn "$CACHE/cluster" .kind
}

node_image_flag() { # nothing: kind's own node image, which it pulls
  if [ -n "${FTJOB_NODE_IMAGE:-}" ]; then
    echo "--image=$FTJOB_NODE_IMAGE"
  elif ! registry_reachable; then
    echo "--image=$(tests/kind/node-image.sh)"
  fi
}

# Everything that a cluster is created from: if it has changed, the cluster is made anew.
fingerprint() {
  (cat kind-config.yaml tests/kind/audit-policy.yaml; echo "$KIND_VERSION"; cd .kind && pwd -P) | sha256sum | cut -c1-16
}

# When each node was started. Docker may do that by itself, so it is compared with what the last run saw.
# shellcheck disable=SC2046  # one argument a node
starts() { docker inspect -f '{{.Name}} {{.State.StartedAt}}' $("$KIND" get nodes --name "$CLUSTER" | sort); }

# What a cluster that had stopped says of its nodes and pods is as old as its end. Only what comes anew shows that all
# parts work again: a pod on each node, the cluster's DNS, the provisioners. The operator is waited for by its install.
renew() {
  local namespace
  for namespace in kube-system local-path-storage ftjob-storage ftjob-system; do
    k -n "$namespace" rollout restart daemonset,deployment || return 1
  done
  for namespace in kube-system local-path-storage ftjob-storage; do
    k -n "$namespace" rollout status daemonset,deployment --timeout=120s || return 1
  done
}

# Is the cluster that is there made from the same inputs, and alive? Nodes that stopped with Docker are started
# again, which keeps the images that they hold.
usable() {
  local nodes node
  nodes=$("$KIND" get nodes --name "$CLUSTER" 2>/dev/null | sort) && [ -n "$nodes" ] || return 1
  [ "$(docker cp "$CONTROL_PLANE:/kind/ftjob-fingerprint" - 2>/dev/null | tar -xO 2>/dev/null)" = "$(fingerprint)" ] || return 1
  for node in $nodes; do
    if [ "$(docker inspect -f '{{.State.Running}}' "$node" 2>/dev/null)" != true ]; then
      say "starting node $node again"
      docker start "$node" >/dev/null || return 1
    fi
  done
  "$KIND" export kubeconfig --name "$CLUSTER" >/dev/null 2>&1 || return 1
  for _ in $(seq 60); do
    if k wait --for=condition=Ready nodes --all --timeout=60s --request-timeout=5s >/dev/null 2>&1; then
      [ "$(starts)" = "$(cat .kind/starts 2>/dev/null)" ] || renew >"$CACHE/log/renew-cluster.log" 2>&1
      return
    fi
    sleep 1
  done
  return 1
}

# kind-config.yaml with the folders' own places: Docker looks them up whenever a node starts, and the checkout may be
# gone by then.
write_config() {
  local folders
  folders=$(cd .kind && pwd -P)
  cp tests/kind/audit-policy.yaml "$folders/"
  sed -e "s#hostPath: tests/kind/#hostPath: $folders/#" -e "s#hostPath: \.kind/#hostPath: $folders/#" \
    kind-config.yaml >.kind/kind-config.yaml
}

create() {
  local flag
  flag=$(node_image_flag)
  write_config
  "$KIND" delete cluster --name "$CLUSTER" >/dev/null 2>&1 || true
  # shellcheck disable=SC2086  # no flag is no argument
  timed "create cluster" "$KIND" create cluster --name "$CLUSTER" --config .kind/kind-config.yaml --wait 180s $flag
  fingerprint | docker exec -i "$CONTROL_PLANE" tee /kind/ftjob-fingerprint >/dev/null
}

storage() {
  local provisioner helper
  provisioner=$(k -n local-path-storage get deployment local-path-provisioner \
    -o jsonpath='{.spec.template.spec.containers[0].image}')
  helper=$(k -n local-path-storage get configmap local-path-config -o jsonpath='{.data.helperPod\.yaml}' |
    sed -nE 's/^ *image: *"?([^"]*)"?/\1/p' | head -n 1)
  sed -e "s#@PROVISIONER_IMAGE@#$provisioner#" -e "s#@HELPER_IMAGE@#$helper#" tests/kind/shared-storage.yaml | k apply -f -
  k -n ftjob-storage rollout status deployment/shared-path --timeout=120s
}

up() {
  link_folders
  usable || create
  starts >.kind/starts
  k wait --for=condition=Ready nodes --all --timeout=120s >/dev/null
  timed "storage classes" storage
  [ "${1:-}" != cluster ] || return 0
  timed "images" tests/setup/images.sh
  tests/kind/load.sh >/dev/null
  tests/kind/install.sh
}

locked kind up "$@"
say "cluster $CLUSTER is up (context kind-$CLUSTER); kubectl and helm: $CACHE/bin"
