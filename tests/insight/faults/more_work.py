"""A rank that computes more than the others."""

from insight.planted import burn

POINT, KIND, CAUSE = "forward", "Straggler", "Compute"
BURNS = True
"""It is CPU time."""


def plant(place):
    if place.point == POINT and place.is_culprit:
        burn(place.ms)
