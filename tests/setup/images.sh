#!/bin/bash
# Builds the project's images, tagged :dev. Docker's layer cache makes a second run short.
#   images.sh [operator|tensorflow|horovod|pytorch|hybrid|horovod-torch|tpu|test-base ...]
# Without arguments the first three: those with torch have 7 GB and more where only its build for CUDA can be had.
# TORCH_INDEX_URL in the environment: where else to take torch from (https://download.pytorch.org/whl/cpu).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$REPO/tests/setup/images-lib.sh"

cd "$REPO"
"$REPO/tests/setup/docker.sh"

PYTHON_PACKAGES="python3 python3-venv libpython$PYTHON_VERSION ca-certificates"
PYTHON_IMAGE=ftjob/python:$PYTHON_VERSION-$(sha256sum <<<"$PYTHON_PACKAGES" | cut -c1-8)

# What the official slim image of Python would give, the shared library (torch-xla loads it) included.
make_python_image() {
  if docker image inspect "$PYTHON_IMAGE" >/dev/null 2>&1; then return; fi
  ensure_debian_image
  docker build --network host -t "$PYTHON_IMAGE" - <<DOCKERFILE
FROM $DEBIAN_IMAGE
RUN apt-get update -q && apt-get install -y -q --no-install-recommends $PYTHON_PACKAGES \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
DOCKERFILE
}

build() { # build TAG DOCKERFILE [FILE | -C FOLDER]... -- [DOCKER-OPTION]...; the context is these files alone
  local tag=$1 dockerfile=$2 files=(); shift 2
  while [ "$1" != -- ]; do files+=("$1"); shift; done
  shift
  tar -c --hard-dereference --exclude __pycache__ "$dockerfile" "${files[@]}" -C "$SETTINGS" client-settings |
    docker build --network host -t "$tag" -f "$dockerfile" "$@" -
}

operator() {
  build ftjob-operator:dev operator/images/operator.Dockerfile \
    pyproject.toml requirements.lock README.md LICENSE operator workloads -- --build-arg BASE_IMAGE="$PYTHON_BASE"
}
tensorflow() {
  build ftjob-workload-tensorflow:dev workloads/images/tensorflow/Dockerfile \
    pyproject.toml requirements.lock workloads -- --build-arg BASE_IMAGE="$PYTHON_BASE"
}
pytorch() {
  build ftjob-workload-pytorch:dev workloads/images/pytorch/Dockerfile \
    pyproject.toml requirements.lock workloads -- "${TORCH[@]}"
}
hybrid() { # after pytorch
  build ftjob-workload-hybrid:dev workloads/images/hybrid/Dockerfile \
    pyproject.toml requirements.lock workloads -- --build-arg BASE_IMAGE="$PYTHON_BASE"
}
tpu() {
  build ftjob-workload-tpu:dev workloads/images/tpu/Dockerfile workloads -- "${TORCH[@]}"
}
horovod() { with_horovod tensorflow ftjob-workload-horovod:dev; }
horovod-torch() { with_horovod torch ftjob-workload-horovod-torch:dev; } # after pytorch
with_horovod() { # with_horovod FRAMEWORK TAG
  local files=(pyproject.toml requirements.lock workloads/images -C "$SETTINGS" wheels)
  local dockerfile=workloads/images/horovod/Dockerfile options=(--build-arg BASE_IMAGE="$PYTHON_BASE")
  if [ "$1" = torch ]; then
    options=("${TORCH[@]}" --build-arg FRAMEWORK=torch --build-arg FRAMEWORK_IMAGE=ftjob-workload-pytorch:dev)
  fi
  find_wheel "$1"
  build ftjob/horovod-wheel:dev "$dockerfile" "${files[@]}" -- --target wheel "${options[@]}"
  keep_wheel
  build "$2" "$dockerfile" "${files[@]}" -- "${options[@]}"
}
test-base() {
  build ftjob-test-base:dev tests/kind/test-base.Dockerfile -- --build-arg BASE_IMAGE="$PYTHON_BASE"
}

# Compiling Horovod takes minutes, so a wheel is taken from the cache: that of an earlier build of this image, or
# the one that `make setup` made for both frameworks, if it was linked with the same C library.
find_wheel() { # find_wheel FRAMEWORK
  local script=workloads/images/horovod/build-wheel.sh tensorflow torch key kept
  tensorflow=tensorflow-cpu-$(sed -nE 's/^tensorflow-cpu==([^ ;]+).*/\1/p' requirements.lock)
  torch=torch-$(sed -nE 's/^torch==([^ ;]+).*/\1/p' requirements.lock)
  key=$(sha256sum "$script" | cut -c1-8)
  IMAGE_WHEELS=$CACHE/horovod/image-${!1}-python-$PYTHON_VERSION-$key
  rm -rf "$SETTINGS/wheels"
  mkdir -p "$SETTINGS/wheels"
  if [ "$1" = torch ] && [ -n "${TORCH_INDEX_URL:-}" ]; then # another build of torch: another wheel
    IMAGE_WHEELS+=-$(sha256sum <<<"$TORCH_INDEX_URL" | cut -c1-8) torch=none
  fi
  for kept in "$IMAGE_WHEELS"/*.whl \
    "$CACHE/horovod/$tensorflow-$torch-cpython-${PYTHON_VERSION/./}"-*"-glibc-$DEBIAN_GLIBC-$key"/*.whl; do
    if [ -f "$kept" ]; then cp "$kept" "$SETTINGS/wheels/"; return; fi
  done
}
keep_wheel() {
  local container
  if compgen -G "$SETTINGS/wheels/*.whl" >/dev/null; then return; fi
  container=$(docker create ftjob/horovod-wheel:dev true)
  mkdir -p "$IMAGE_WHEELS.$$"
  docker cp "$container:/wheel/." "$IMAGE_WHEELS.$$/"
  docker rm "$container"
  mv -T "$IMAGE_WHEELS.$$" "$IMAGE_WHEELS"
}

SETTINGS=$(mktemp -d)
trap 'rm -rf "$SETTINGS"' EXIT
write_client_settings "$SETTINGS/client-settings"
if [ -z "${PYTHON_BASE:-}" ]; then
  if registry_reachable; then
    PYTHON_BASE=python:$PYTHON_VERSION-slim-$DEBIAN_SUITE DEBIAN_BASE=debian:$DEBIAN_SUITE-slim
  else
    locked python-image timed "Python base image" make_python_image
    PYTHON_BASE=$PYTHON_IMAGE DEBIAN_BASE=$DEBIAN_IMAGE
  fi
fi
TORCH=(--build-arg BASE_IMAGE="$PYTHON_BASE" --build-arg TORCH_INDEX_URL="${TORCH_INDEX_URL:-}")
if [ $# = 0 ]; then set -- operator tensorflow horovod; fi
for image in "$@"; do locked images timed "image $image" "$image"; done
