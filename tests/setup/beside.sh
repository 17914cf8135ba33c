#!/bin/bash
# Runs two commands beside each other: the first with its output in a log, the second where we are.
#   beside.sh NAME COMMAND... -- COMMAND...
# When both have ended the log is printed. When one fails the other is stopped, as by Ctrl-C, which lets tests tidy up.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

PATIENCE=60  # seconds that a stopped command has to tidy up
name=$1 first=()
shift
while [ "$1" != -- ]; do first+=("$1"); shift; done
shift
mkdir -p dist
log=dist/$name.log groups=()

alive() { kill -0 -- "-$1" 2>/dev/null; }

stop() { # stop GROUP...
  local group i
  for group in "$@"; do kill -INT -- "-$group" 2>/dev/null || true; done
  for ((i = 0; i < PATIENCE * 5; i++)); do
    for group in "$@"; do
      if alive "$group"; then sleep 0.2; continue 2; fi
    done
    return 0
  done
  for group in "$@"; do kill -KILL -- "-$group" 2>/dev/null || true; done
}
trap 'trap "" INT TERM; stop "${groups[@]}"; exit 130' INT TERM

# Each command gets a session, and so a process group, of its own. A shell lets what it starts beside it ignore SIGINT.
env --default-signal=INT,QUIT setsid "${first[@]}" >"$log" 2>&1 </dev/null &
first=$! groups=("$!")
env --default-signal=INT,QUIT setsid "$@" </dev/null &
second=$! groups+=("$!")

code=0
wait -n -p ended "$first" "$second" || code=$?
if [ "$code" = 0 ]; then
  if [ "$ended" = "$first" ]; then other=$second; else other=$first; fi
  ended=$other
  wait "$other" || code=$?
fi
if [ "$code" != 0 ]; then stop "${groups[@]}"; fi
printf '\n--- %s (%s):\n' "$name" "$log"
if [ "$code" = 0 ]; then cat "$log"; exit; fi
tail -n 200 "$log"
if [ "$ended" = "$first" ]; then
  printf '\nftjob: %s failed (exit code %s); the whole log: %s\n' "$name" "$code" "$log" >&2
else
  printf '\nftjob: %s was stopped, since what ran beside it failed: see above its log\n' "$name" >&2
fi
exit "$code"
