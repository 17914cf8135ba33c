"""Data that comes late: a sleep stands for a slow disk."""

import time

POINT, KIND, CAUSE = "input", "Straggler", "Input"
ALL = "InputBound"
"""The kind if it is so on all ranks."""


def plant(place):
    if place.point == POINT and place.is_culprit:
        time.sleep(place.ms / 1000)
