"""Rank 0 saves now and then, and the others wait for it; with no ranks, all evaluate."""

import time

POINT, KIND, CAUSE = "between", "Pauses", None


def save_checkpoint(place):
    time.sleep(place.placement["pause"] / 1000)


def plant(place):
    if (
        place.point == POINT
        and place.is_culprit
        and place.step % place.placement["every"] == place.placement["every"] - 1
    ):
        save_checkpoint(place)
