"""The limit of one rank lets it compute for a part of the time only."""

import os

from support import cpu_quota

POINT, KIND, CAUSE = "host", "Straggler", "Host"
groups = []


def plant(place):
    if place.point == "begin" and place.is_culprit:
        work = place.placement["work"]
        group = cpu_quota.make(os.environ["INSIGHT_GROUP"] + str(place.rank), work / (work + place.ms))
        groups.extend([group, cpu_quota.enter(group)])
    elif place.point == "end" and groups:
        group, before = groups
        (before / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()
        groups.clear()
