"""The newest version of each object: older ones, and objects that are deleted for good, are no news."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from ftjob_protocol.values.digits import whole

if TYPE_CHECKING:
    from ftjob.models.manifest import Manifest

VERSION_DIGITS = 40
TOMBSTONES = 50_000
"""A burst of 10,000 jobs' pods may go while answers to earlier writes are on their way; 10 MB at most."""


class Versions:
    """Newest resourceVersions by UID, and the UIDs of objects that are gone.

    Watches and the answers to our own writes arrive in any order, so an answer may come after a later event.
    """

    def __init__(self) -> None:
        self._newest: dict[str, str] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def is_news(self, body: Manifest) -> bool:
        """Whether nothing as new was seen of this object; remember its version."""
        meta = body["metadata"]
        uid, version = meta["uid"], meta.get("resourceVersion", "")
        if uid in self._deleted or not is_newer(version, self._newest.get(uid)):
            return False
        self._newest[uid] = version
        return True

    def newest(self, uid: str) -> str:
        """Return the newest version of an object; nothing if it is not known."""
        return self._newest.get(uid, "")

    def mark_deleted(self, uid: str) -> None:
        """Remember that an object is gone: the answer to an earlier write may still be on its way."""
        self._newest.pop(uid, None)
        self._deleted[uid] = None
        while len(self._deleted) > TOMBSTONES:
            self._deleted.popitem(last=False)

    def is_deleted(self, uid: str) -> bool:
        """Whether this object is known to be gone."""
        return uid in self._deleted


def is_newer(version: str, than: str | None) -> bool:
    """Whether a resourceVersion is newer than another one of the same object.

    They are comparable numbers by contract from Kubernetes 1.35 on (KEP-5504) and in fact before; where
    they are not, the one that arrives later is taken for newer.
    """
    if than is None:
        return True
    new, old = whole(version, VERSION_DIGITS), whole(than, VERSION_DIGITS)
    return version != than if new is None or old is None else new > old
