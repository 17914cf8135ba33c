#!/bin/bash
# Makes sure that Debian's Chromium is there, for tests/browser, and prints its path.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for name in chromium chromium-browser google-chrome; do
  if command -v "$name"; then exit; fi
done
need chromium chromium
command -v chromium
