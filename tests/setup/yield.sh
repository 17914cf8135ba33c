#!/bin/bash
# Runs a command that leaves the cores to whatever else wants them: yield.sh COMMAND...
# Linux shares the cores out among sessions first, and `nice` counts only inside of one (sched(7), "The autogroup
# feature"); where a session is its own, as beside.sh makes it, it can be made nicer as a whole.
{ echo 10 >/proc/self/autogroup; } 2>/dev/null || true
exec nice -n 10 "$@"
