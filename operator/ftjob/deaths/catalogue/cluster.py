"""The cluster has ended a pod, by its own words."""

from __future__ import annotations

from ftjob.deaths.row import Row, Where

_QUANTITY = r"\d{1,18}(?:\.\d{1,6})?(?:[KMGTPEkm]i?)?"
_EVICTION = "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/"
_STORAGE = "https://kubernetes.io/docs/concepts/storage/ephemeral-storage/"

ROWS = (
    Row(
        "evicted-node-low",
        Where.ENDED,
        r"The node (?:was|had) low on resource: (?P<resource>[\w-]{1,40}(?:\.[\w-]{1,40}){0,3})"
        rf"(?:[^\n]{{0,120}}Container (?P<container>[\w-]{{1,63}}) was using (?P<used>{_QUANTITY}), "
        rf"(?:request is|which exceeds its request of) (?P<request>{_QUANTITY}))?",
        "The node ran low on {resource}, and the kubelet has ended the pod[: {container} used {used} and "
        "had asked for {request}]",
        "Ask for what the job uses, resources.requests.{resource}: pods above their request are ended "
        "first; write to outputs, not into the container",
        _EVICTION,
    ),
    Row(
        "evicted-own-limit",
        Where.ENDED,
        rf"ephemeral local storage usage exceeds the total limit of containers (?P<limit>{_QUANTITY})"
        rf"|exceeded its local ephemeral storage limit \"(?P<own>{_QUANTITY})\"",
        "The pod wrote more into its containers than its limit of [{limit}][{own}] allows",
        "Raise resources.limits.ephemeral-storage, or write to $FTJOB_OUTPUTS",
        _STORAGE,
    ),
    Row(
        "evicted-empty-dir",
        Where.ENDED,
        rf"Usage of EmptyDir volume \"(?P<volume>[\w-]{{1,63}})\" exceeds the limit "
        rf"\"(?P<limit>{_QUANTITY})\"",
        "The volume {volume} has reached its limit of {limit}",
        "Raise its sizeLimit in the template; /dev/shm is as large as the trainer's memory limit",
        "https://kubernetes.io/docs/concepts/storage/volumes/#emptydir",
    ),
    Row(
        "preempted",
        Where.ENDED,
        r"preempting to accommodate a higher priority pod|PreemptionByScheduler",
        "A pod of higher priority took its place",
        "Nothing, if restarts may come: disruptions don't spend restart.limit; else give the job a higher "
        "priorityClassName",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/",
    ),
)
