"""More is exchanged than the gradients: one large tensor."""

POINT, KIND, CAUSE = "exchange", "CommunicationBound", None


def plant(place):
    if place.point == POINT:
        place.exchange(1, int(place.placement["floats"]))
