#!/bin/bash
# Builds Horovod for the frameworks that a Python has: build-wheel.sh PYTHON FOLDER
# The wheel fits exactly these versions of Python, TensorFlow and torch. Needs g++, make, uv (or $UV) and
# Python's headers. HOROVOD_GPU_OPERATIONS=NCCL: for GPUs; CUDA is that of $HOROVOD_CUDA_HOME and NCCL that of
# $HOROVOD_NCCL_HOME, or, without these, torch's own, with a compiler from the package registry.
#
# 0.28.1 is Horovod's last release and older than the frameworks. Two edits make it build: their headers
# need C++20, and its XLA operations use an interface that TensorFlow no longer has.
set -euo pipefail
python=$1 folder=$2 uv=${UV:-uv}
# Bounds are those that the edits and CMakeLists.txt were tried with.
tools=(pip 'setuptools<81' wheel 'cmake<4' packaging cffi pyyaml psutil cloudpickle)
source='horovod==0.28.1 --hash=sha256:92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$uv" venv -q --python "$python" "$work/venv"
"$uv" pip install -q --python "$work/venv/bin/python" "${tools[@]}"
paths='import sysconfig; print(sysconfig.get_paths()["purelib"])'
# The build sees the frameworks where they are; its own tools come first.
"$python" -c "$paths" >"$("$work/venv/bin/python" -c "$paths")/frameworks.pth"
PATH=$work/venv/bin:$PATH

echo "$source" >"$work/requirement"
pip download -q --disable-pip-version-check --no-deps --no-build-isolation --no-binary :all: -d "$work" -r "$work/requirement"
tar -C "$work" -xzf "$work"/horovod-*.tar.gz
cd "$work"/horovod-*/
sed -i -E 's/(CMAKE_CXX_STANDARD) (14|17)/\1 20/' CMakeLists.txt horovod/torch/CMakeLists.txt horovod/tensorflow/CMakeLists.txt
sed -i '/xla_mpi_ops\.cc/d' horovod/tensorflow/CMakeLists.txt

# Lays out CUDA and NCCL of torch's packages as CMake looks for them, and adds the compiler. Compiler, code generator,
# headers and assembler must be of one version, which their packages do not demand of each other.
cuda_of_torch() {
  local site version library
  site=$("$python" -c "$paths")/nvidia
  version=$("$python" -c 'import importlib.metadata as m; print(m.version("nvidia-cuda-runtime").rpartition(".")[0])')
  "$uv" pip install -q --target "$work/nvcc" --no-deps nvidia-{cuda-nvcc,nvvm,cuda-crt}=="$version.*"
  mkdir "$work/cuda" "$work/nccl"
  cp -rs "$site/cu${version%.*}"/{include,lib} "$work/cuda/"
  cp -r --remove-destination "$work/nvcc/nvidia/cu${version%.*}/." "$work/cuda/"
  cp -rs "$site/nccl"/{include,lib} "$work/nccl/"
  for library in "$work"/{cuda,nccl}/lib/lib*.so.*; do ln -sf "$library" "${library%%.so.*}.so"; done
  export HOROVOD_CUDA_HOME=$work/cuda HOROVOD_NCCL_HOME=$work/nccl CUDACXX=$work/cuda/bin/nvcc
  PATH=$work/cuda/bin:$PATH
}

has() { python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)' "$1"; }
export HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_WITHOUT_MXNET=1
if has tensorflow; then export HOROVOD_WITH_TENSORFLOW=1; else export HOROVOD_WITHOUT_TENSORFLOW=1; fi
if has torch; then export HOROVOD_WITH_PYTORCH=1; else export HOROVOD_WITHOUT_PYTORCH=1; fi
if [ -n "${HOROVOD_GPU_OPERATIONS:-}" ]; then
  export HOROVOD_GPU=CUDA HOROVOD_NCCL_LINK=${HOROVOD_NCCL_LINK:-SHARED}
  export HOROVOD_BUILD_CUDA_CC_LIST=${HOROVOD_BUILD_CUDA_CC_LIST:-80,90,100}
  [ -n "${HOROVOD_CUDA_HOME:-}" ] || cuda_of_torch
fi
MAKEFLAGS=-j$(nproc)
export MAKEFLAGS  # ours alone: Horovod would start 8 compilers, and an outer make hands its own flags down
pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w "$work/wheel" .
mkdir -p "$folder"
mv "$work"/wheel/horovod-*.whl "$folder/"
