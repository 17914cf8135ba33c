#!/bin/bash
# Builds a kind node image out of Debian packages and Go modules alone, for machines that reach no image
# registry, and prints its name. An image whose inputs have not changed is kept.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../setup/common.sh"
. "$REPO/tests/setup/gobuild.sh"
. "$REPO/tests/setup/images-lib.sh"

NODE=$REPO/tests/kind/node
inputs=$( (cat "$REPO/tests/kind/node-image.sh"; cd "$NODE"; find . -type f | sort | xargs sha256sum) | sha256sum | cut -c1-12)
IMAGE=ftjob/node:$K8S_VERSION-$inputs
NODE_BASE=ftjob/node-base:dev NET=ftjob/net:dev  # never leave this machine's docker
PODNET=docker.io/ftjob/podnet:dev
LOCAL_PATH=docker.io/ftjob/local-path-provisioner:$LOCAL_PATH_VERSION
BUSYBOX=docker.io/ftjob/busybox:dev

source_hash() { cat "$NODE/src/$1"/* | sha256sum | cut -c1-12; }
COREDNS_BIN=coredns-$COREDNS_VERSION PODNET_BIN=podnet-$(source_hash podnet)
PAUSE_BIN=pause-$(source_hash pause) CRICTL_BIN=minicrictl-$(source_hash minicrictl)

binaries() {
  for command in $K8S_COMMANDS; do
    once "$command-$K8S_VERSION" "build $command $K8S_VERSION" build_k8s "$command" "$K8S_VERSION"
  done
  once "etcd-$ETCD_VERSION" "build etcd $ETCD_VERSION" \
    build_module etcd "$ETCD_VERSION" go.etcd.io/etcd/server/v3 go.etcd.io/etcd/server/v3
  once "local-path-provisioner-$LOCAL_PATH_VERSION" "build local-path-provisioner" \
    build_module local-path-provisioner "$LOCAL_PATH_VERSION" \
    github.com/rancher/local-path-provisioner github.com/rancher/local-path-provisioner
  once "$COREDNS_BIN" "build coredns $COREDNS_VERSION" \
    build_own "$COREDNS_BIN" "$NODE/src/coredns" "github.com/coredns/coredns@$COREDNS_VERSION"
  once "$PAUSE_BIN" "build pause" build_own "$PAUSE_BIN" "$NODE/src/pause"
  once "$PODNET_BIN" "build podnet" build_own "$PODNET_BIN" "$NODE/src/podnet" github.com/vishvananda/netlink@v1.3.1
  once "$CRICTL_BIN" "build minicrictl" \
    build_own "$CRICTL_BIN" "$NODE/src/minicrictl" "k8s.io/cri-api@v0.${K8S_VERSION#v1.}"
}

image_of() { grep "/$1:" <<<"$KUBEADM_IMAGES" | head -n 1; }

write_context() {
  mkdir -p "$WORK/context/bin" "$WORK/context/kind/manifests"
  cp "$(ca_bundle)" "$WORK/context/ca.crt"
  cp -r "$NODE/rootfs" "$NODE/Dockerfile" "$WORK/context/"
  cp "$BIN/$CRICTL_BIN" "$WORK/context/bin/crictl"
  for command in kubelet kubeadm kubectl; do cp "$BIN/$command-$K8S_VERSION" "$WORK/context/bin/$command"; done
  sed -i "s#@PAUSE_IMAGE@#$(image_of pause)#" "$WORK/context/rootfs/etc/containerd/config.toml"
  for manifest in "$NODE"/manifests/*.yaml; do
    sed -e "s#@PODNET_IMAGE@#$PODNET#" -e "s#@LPP_IMAGE@#$LOCAL_PATH#" -e "s#@BUSYBOX_IMAGE@#$BUSYBOX#" \
      "$manifest" >"$WORK/context/kind/manifests/$(basename "$manifest")"
  done
  printf %s "$K8S_VERSION" >"$WORK/context/kind/version"  # kind picks the kubeadm configuration by it
}

stage() { # stage NAME TAG: one stage of the Dockerfile
  docker build -q --network host --target "$1" --build-arg BASE_IMAGE="$DEBIAN_IMAGE" -t "$2" "$WORK/context"
}

one_binary() { # one_binary TAG PATH-IN-IMAGE FILE [BASE]: an image of one static program
  rm -rf "$WORK/one" && mkdir -p "$WORK/one"
  cp "$3" "$WORK/one/bin"
  printf 'FROM %s\nCOPY bin %s\nENTRYPOINT ["%s"]\n' "${4:-scratch}" "$2" "$2" >"$WORK/one/Dockerfile"
  docker build -q -t "$1" "$WORK/one"
}

component_images() {
  for command in kube-apiserver kube-controller-manager kube-scheduler; do
    one_binary "$(image_of $command)" "/usr/local/bin/$command" "$BIN/$command-$K8S_VERSION"
  done
  one_binary "$(image_of etcd)" /usr/local/bin/etcd "$BIN/etcd-$ETCD_VERSION"
  one_binary "$(image_of coredns)" /coredns "$BIN/$COREDNS_BIN"
  one_binary "$(image_of pause)" /pause "$BIN/$PAUSE_BIN"
  one_binary "$LOCAL_PATH" /usr/bin/local-path-provisioner "$BIN/local-path-provisioner-$LOCAL_PATH_VERSION"
  stage net "$NET"
  one_binary "$(image_of kube-proxy)" /usr/local/bin/kube-proxy "$BIN/kube-proxy-$K8S_VERSION" "$NET"
  one_binary "$PODNET" /usr/local/bin/podnet "$BIN/$PODNET_BIN" "$NET"
  stage busybox "$BUSYBOX"
}

# The images go into the node's containerd packed: unpacking would put overlay on overlay, which fails here.
# containerd unpacks them on first use.
node_image() {
  local container
  stage node "$NODE_BASE"
  container=$(docker run -d --privileged --entrypoint sleep "$NODE_BASE" infinity)
  docker exec -d "$container" containerd
  for _ in $(seq 100); do
    docker exec "$container" ctr version >/dev/null 2>&1 && break
    sleep 0.2
  done
  # shellcheck disable=SC2086  # one word an image
  docker save $KUBEADM_IMAGES "$PODNET" "$LOCAL_PATH" "$BUSYBOX" |
    docker exec -i "$container" ctr -n k8s.io images import --no-unpack --all-platforms -
  docker exec "$container" sh -c 'pkill containerd; sleep 1; rm -rf /run/containerd /var/lib/containerd/tmpmounts/*'
  docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]' --change 'CMD []' "$container" "$IMAGE"
  docker rm -f -v "$container"
}

build() {
  if docker image inspect "$IMAGE" >/dev/null 2>&1; then return; fi
  binaries
  KUBEADM_IMAGES=$("$BIN/kubeadm-$K8S_VERSION" config images list --kubernetes-version "$K8S_VERSION" 2>/dev/null)
  rm -rf "$CACHE"/node-image.??????  # what a build that was killed left
  WORK=$(mktemp -d "$CACHE/node-image.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  ensure_debian_image
  write_context
  timed "images of the cluster's components" component_images
  timed "node image" node_image
  docker image ls -q ftjob/node --filter "before=$IMAGE" | sort -u | xargs -r docker image rm -f >/dev/null 2>&1 || true
}

locked node-image build >&2
echo "$IMAGE"
