#!/bin/bash
# Builds Horovod for the frameworks that a Python has: build-wheel.sh PYTHON FOLDER
# The wheel fits exactly these versions of Python, TensorFlow and torch. Needs g++, make, uv (or $UV) and
# Python's headers.
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

export HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITH_TENSORFLOW=1
if python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then
  export HOROVOD_WITH_PYTORCH=1
else
  export HOROVOD_WITHOUT_PYTORCH=1
fi
MAKEFLAGS=-j$(nproc)
export MAKEFLAGS  # ours alone: Horovod would start 8 compilers, and an outer make hands its own flags down
pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w "$work/wheel" .
mkdir -p "$folder"
mv "$work"/wheel/horovod-*.whl "$folder/"
