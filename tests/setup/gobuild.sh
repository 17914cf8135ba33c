# shellcheck shell=bash
# Builds programs from the Go module proxy into $BIN. Sourced after common.sh.
# A binary that is there is kept; each is built under another name and renamed when it is whole.
# -mod=mod lets each build write down the requirements that it meets; no `go mod tidy`, which would also
# fetch what only the tests of a dependency need.
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=mod -buildvcs=false" GOWORK=off

# shellcheck disable=SC2034  # for node-image.sh
K8S_COMMANDS="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubeadm kubectl"

go_build() { # go_build FOLDER OUTPUT PACKAGE LDFLAGS
  (cd "$1" && "$GO" build -trimpath -ldflags "-s -w $4" -o "$2.$$" "$3" && mv "$2.$$" "$2")
}

# A module that can build k8s.io/kubernetes: the released one points its staging modules at ./staging,
# which module archives do not contain, so each is replaced by its released counterpart.
k8s_module() { # k8s_module VERSION FOLDER
  local version=$1 dir=$2 staging=v0.${1#v1.} released
  [ ! -f "$dir/.ok" ] || return 0
  rm -rf "$dir" && mkdir -p "$dir"
  cd "$dir" || return
  GOFLAGS='' "$GO" mod download "k8s.io/kubernetes@$version"
  released=$("$GO" env GOMODCACHE)/cache/download/k8s.io/kubernetes/@v/$version.mod
  {
    echo "module ftjob.test/k8s"
    grep -m1 '^go ' "$released"
    echo "require k8s.io/kubernetes $version"
    awk '$1 ~ /^k8s\.io\// && ($2 == "v0.0.0" || /=> \.\/staging/) {print $1}' "$released" | sort -u |
      awk -v v="$staging" '{print "replace " $1 " => " $1 " " v}'
  } >go.mod
  touch .ok
}

build_k8s() { # build_k8s NAME VERSION
  local out=$BIN/$1-$2 dir=$MOD/k8s-$2 base=k8s.io/component-base/version client=k8s.io/client-go/pkg/version minor flags=
  [ ! -x "$out" ] || return 0
  GO=$(find_go)
  k8s_module "$2" "$dir"
  minor=$(cut -d. -f2 <<<"$2")
  for package in $base $client; do
    flags+=" -X $package.gitVersion=$2 -X $package.gitMajor=1 -X $package.gitMinor=$minor"
  done
  go_build "$dir" "$out" "k8s.io/kubernetes/cmd/$1" "$flags"
}

build_module() { # build_module NAME VERSION MODULE PACKAGE [LDFLAGS]: a program of a released module
  local out=$BIN/$1-$2 dir=$MOD/$1-$2
  [ ! -x "$out" ] || return 0
  GO=$(find_go)
  rm -rf "$dir" && mkdir -p "$dir"
  cd "$dir" || return
  "$GO" mod init "ftjob.test/$1"
  "$GO" get "$3@$2"
  go_build "$dir" "$out" "$4" "${5:-}"
}

build_own() { # build_own OUTPUT-NAME SOURCE-FOLDER MODULE@VERSION...: a small program of ours
  local out=$BIN/$1 dir=$MOD/$1 source=$2
  [ ! -x "$out" ] || return 0
  GO=$(find_go)
  rm -rf "$dir" && mkdir -p "$dir" && cp "$source"/*.go "$dir"/
  cd "$dir" || return
  shift 2
  "$GO" mod init ftjob.test/own
  for module in "$@"; do "$GO" get "$module"; done
  go_build "$dir" "$out" . ""
}

# once NAME LABEL BUILD...: builds $BIN/NAME unless it is there, one build at a time on a small machine
once() {
  local name=$1; shift
  [ -x "$BIN/$name" ] || locked go-build timed "$@"
}
