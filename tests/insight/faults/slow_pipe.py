"""Data that another process feeds too slowly: a FIFO."""

import subprocess
import sys

POINT, KIND, CAUSE = "input", "Straggler", "Input"
ALL = "InputBound"
FEED = """import sys, time
for line in sys.stdin:
    time.sleep(float(line))
    print(end="x", flush=True)
"""
feeders = {}


def plant(place):
    if place.point == "begin" and place.is_culprit:
        feeders[0] = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", FEED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
    elif place.point == POINT and place.is_culprit:
        feeders[0].stdin.write(f"{place.ms / 1000}\n".encode())
        feeders[0].stdout.read(1)
    elif place.point == "end" and 0 in feeders:
        feeders[0].stdin.close()
        feeders.pop(0).wait()
