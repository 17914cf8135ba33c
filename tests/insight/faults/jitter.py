"""Bait: every step takes a little longer or shorter, on each rank another."""

import random
import time

POINT, KIND, CAUSE = "forward", None, None


def plant(place):
    if place.point == POINT:
        time.sleep(random.random() * 0.02 * place.placement["work"] / 1000)
