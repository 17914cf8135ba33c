"""A device that is slower than the others', in the optimizer."""

import time

POINT, KIND, CAUSE = "optimizer", "Straggler", "Unknown"


def plant(place):
    if place.point == POINT and place.is_culprit:
        time.sleep(place.ms / 1000)
