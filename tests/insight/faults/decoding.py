"""Data whose decoding takes CPU time in the loop."""

from insight.planted import burn

POINT, KIND, CAUSE = "input", "Straggler", "Input"
ALL = "InputBound"
BURNS = True
"""It is CPU time."""


def plant(place):
    if place.point == POINT and place.is_culprit:
        burn(place.ms)
