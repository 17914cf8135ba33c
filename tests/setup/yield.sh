#!/bin/bash
# Runs a command that leaves the cores to whatever else wants them: yield.sh COMMAND...
# Linux shares the cores out among sessions first, and `nice` counts only inside of one (sched(7), "The autogroup
# feature"); where a session is its own, as beside.sh makes it, it can be made nicer as a whole. Kernels without that
# feature lack the file, and in some containers it can't be written: `nice` is all there is then.
if [ -w /proc/self/autogroup ]; then echo 10 >/proc/self/autogroup; fi
exec nice -n 10 "$@"
