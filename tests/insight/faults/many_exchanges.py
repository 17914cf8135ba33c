"""Many small tensors are exchanged, one after another."""

POINT, KIND, CAUSE = "exchange", "CommunicationBound", None


def plant(place):
    if place.point == POINT:
        place.exchange(int(place.placement["count"]), 16)
