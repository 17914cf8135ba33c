#!/bin/bash
# Leaves $CACHE/venv-tpu with torch-xla, whose last release needs another torch than .venv has. It is what the
# TPU image holds (workloads/images/tpu/requirements.lock); the programs themselves come by PYTHONPATH.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

LOCK=$REPO/workloads/images/tpu/requirements.lock
VENV=$CACHE/venv-tpu
inputs=$(cat "$LOCK" "${BASH_SOURCE[0]}" | sha256sum | cut -c1-16)

install() {
  if [ "$(cat "$VENV/.ftjob-setup" 2>/dev/null)" = "$inputs" ]; then return; fi
  rm -f "$VENV/.ftjob-setup"
  "$VENV/bin/python" -c '' 2>/dev/null || "$UV" venv -q --clear --python "$PYTHON_VERSION" "$VENV"
  timed "install torch-xla's Python packages" "$UV" pip sync --python "$VENV/bin/python" --require-hashes "$LOCK"
  timed "compile torch-xla's Python packages" compile_packages "$VENV/bin/python"
  # What does not fit must not wait for a test.
  timed "import torch-xla" env PJRT_DEVICE=CPU "$VENV/bin/python" -c 'import torch_xla.runtime'
  echo "$inputs" >"$VENV/.ftjob-setup"
}

UV=$(find_uv)
locked venv-tpu install
