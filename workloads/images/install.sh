#!/bin/sh
# Installs packages in an image build: install.sh PYTHON LOCK UV-OPTION...
# Their versions are those of LOCK. With TORCH_INDEX_URL, torch and torchvision are that index's builds of the same
# versions: for the CPU alone, or for another CUDA.
set -eu
python=$1 lock=$2
shift 2
if [ -f settings.sh ]; then . ./settings.sh; fi
# Compiled, since who runs the image can't write there: each rank would compile its framework anew, for 6 s of a core.
uv() { /uv/bin/uv pip install -q --compile-bytecode --python "$python" "$@"; }

if [ -n "${TORCH_INDEX_URL:-}" ]; then
  # Other builds are other files, so the lock's hashes don't fit them.
  sed -E '/^ +--hash/d; s/ *\\$//' "$lock" >versions.txt
  # shellcheck disable=SC2046  # one word for each package
  uv --default-index "$TORCH_INDEX_URL" --no-deps $(grep -oE '^(torch|torchvision)==[^ ;]+' versions.txt)
  lock=versions.txt
fi
uv -c "$lock" "$@"
