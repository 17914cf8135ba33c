"""All ranks are slower from one step on."""

import time

POINT, KIND, CAUSE = "forward", "Regression", None


def plant(place):
    if place.point == POINT and place.step >= place.placement["from"]:
        time.sleep(place.ms / 1000)
