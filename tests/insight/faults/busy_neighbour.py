"""Another process computes on the core of one rank."""

import subprocess
import sys

POINT, KIND, CAUSE = "host", "Straggler", "Host"
SPIN = """import os, sys, time
busy, idle = (float(each) / 1000 for each in sys.argv[1:])
parent = os.getppid()
while os.getppid() == parent:
    until = time.thread_time() + busy
    while time.thread_time() < until:
        pass
    time.sleep(idle)
"""
neighbours = []


def plant(place):
    if place.point == "begin" and place.is_culprit:
        # It inherits the core. While it computes it has half of it.
        times = str(place.ms), str(max(0.0, place.placement["work"] - place.ms))
        neighbours.append(subprocess.Popen([sys.executable, "-S", "-E", "-c", SPIN, *times]))
    elif place.point == "end" and neighbours:
        neighbour = neighbours.pop()
        neighbour.kill()
        neighbour.wait()
