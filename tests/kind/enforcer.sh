#!/bin/bash
# Has the cluster's network enforce NetworkPolicies, by kube-router beside the network that is there.
#   enforcer.sh up      builds kube-router from the Go module proxy, makes an image of it, and runs it on the workers
#   enforcer.sh down    takes it and its rules away
# kind's own network needs the kernel's nft_queue for that, which not every machine has; kube-router needs ipset.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../setup/common.sh"
. "$REPO/tests/setup/gobuild.sh"
. "$REPO/tests/setup/images-lib.sh"

cd "$REPO"
IMAGE=ftjob-enforcer:dev PROGRAM=kube-router-$KUBE_ROUTER_VERSION
KUBECTL=$(tests/setup/tools.sh kubectl) KIND=$(tests/setup/tools.sh kind)
k() { "$KUBECTL" --context "kind-$CLUSTER" -n kube-system "$@"; }

image() {
  local context base=()
  if ! registry_reachable; then
    ensure_debian_image
    base=(--build-arg BASE_IMAGE="$DEBIAN_IMAGE")
  fi
  context=$(mktemp -d "$CACHE/enforcer.XXXXXX")
  cp tests/kind/enforcer/Dockerfile "$context/"
  cp "$(ca_bundle)" "$context/ca.crt"
  cp "$BIN/$PROGRAM" "$context/kube-router"
  docker build --network host -t "$IMAGE" "${base[@]}" "$context"
  rm -rf "$context"
}

up() {
  once "$PROGRAM" "build kube-router $KUBE_ROUTER_VERSION" build_module kube-router "$KUBE_ROUTER_VERSION" \
    github.com/cloudnativelabs/kube-router/v2 github.com/cloudnativelabs/kube-router/v2/cmd/kube-router
  timed "image of kube-router" image
  tests/kind/load.sh "$IMAGE" >/dev/null
  k apply -f tests/kind/enforcer/kube-router.yaml
  k rollout status daemonset/kube-router --timeout=120s
}

# Without the jumps into them its chains do nothing. Left alone, they would shut in whoever gets the address of a pod
# that had a policy.
down() {
  local node
  k delete -f tests/kind/enforcer/kube-router.yaml --ignore-not-found --wait
  k wait --for=delete pods -l k8s-app=kube-router --timeout=60s
  for node in $("$KIND" get nodes --name "$CLUSTER"); do
    # shellcheck disable=SC2016  # for the node's own shell
    docker exec "$node" bash -c 'for iptables in iptables-nft iptables-legacy; do
      for chain in INPUT FORWARD OUTPUT; do
        $iptables -S "$chain" 2>/dev/null | grep -- "-j KUBE-ROUTER-" | sed "s/^-A/-D/" | xargs -r -L 1 $iptables -w
      done
    done'
  done
}

case ${1:-} in
  up | down) "$1" ;;
  *) die "usage: tests/kind/enforcer.sh up|down" ;;
esac
