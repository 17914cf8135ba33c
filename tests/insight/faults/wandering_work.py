"""Each step another rank has more to do: sequences of different lengths."""

import time

POINT, KIND, CAUSE = "forward", "Imbalance", None


def plant(place):
    if place.point == POINT and (place.step * 7 + place.step // 5) % place.ranks == place.rank:
        time.sleep(place.ms / 1000)
