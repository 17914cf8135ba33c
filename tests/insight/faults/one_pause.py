"""Bait: one long step is no habit."""

import time

POINT, KIND, CAUSE = "between", None, None


def plant(place):
    if place.point == POINT and place.step == 20:
        time.sleep(1.5)
