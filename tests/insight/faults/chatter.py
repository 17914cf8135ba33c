"""Bait: one rank logs a lot."""

import sys

POINT, KIND, CAUSE = "between", None, None


def plant(place):
    if place.point == POINT and place.rank == 0:
        for each in range(40):
            print("step", place.step, "loss", each, file=sys.stderr)
