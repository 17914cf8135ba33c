"""A list that grows."""

POINT, KIND, CAUSE = "between", "MemoryGrowth", None
kept = []


def plant(place):
    if place.point == POINT and place.is_culprit:
        kept.append(bytearray(int(place.placement["bytes"])))
    elif place.point == "end":
        kept.clear()
