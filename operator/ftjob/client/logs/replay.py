"""Which lines of a log were there before. Pure.

A log can be asked for from a whole second on, no finer, so after a lost connection the server repeats itself.
Lines are told apart by their times to the nanosecond, and equal times are counted. That a line is older than
another before it proves nothing: both streams of a container get their times apart from each other.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

OVERLAP = timedelta(seconds=1)
"""By so much the streams may be apart."""


class Replay:
    """What has been seen of one container's log."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, int]] = {}
        """By second, how many lines of each time."""
        self._left: dict[str, int] = {}
        """What the server has yet to repeat."""
        self._last = ""
        self._since = ""
        self._has_met = False
        """Whether any of it was repeated."""
        self.has_gap = False
        """Whether what was seen is not there any more, so that lines may have come and gone meanwhile."""

    @property
    def since(self) -> str:
        """From when on the log has to be asked for again; empty: from its beginning."""
        return f"{self._since}Z" if self._since else ""

    @property
    def is_whole(self) -> bool:
        """Whether the server has repeated all that was seen."""
        return not self._left

    def begin(self) -> None:
        """Expect what the server sends on a new request."""
        self._left = {time: count for second in self._seen.values() for time, count in second.items()}
        self._has_met = False

    def is_new(self, time: str) -> bool:
        """Return whether a line has not been seen; from then on it has.

        Parameters
        ----------
        time
            In UTC, all of the same length.
        """
        if self._left:
            count = self._left.pop(time, 0)
            if count:
                self._has_met = True
                if count > 1:
                    self._left[time] = count - 1
                return False
            if not self._has_met:
                if time <= self._last:
                    return False  # the end of a long line that began before
                self.has_gap = True
        second = self._seen.get(time[:19])
        if second is None:
            second = self._seen[time[:19]] = {}
        second[time] = second.get(time, 0) + 1
        if time > self._last or time[:19] < self._since:  # the node's clock may have been set back
            if time[:19] != self._last[:19]:
                self._forget(time[:19])
            self._last = time
        return True

    def _forget(self, second: str) -> None:
        """Forget what no request will ask for any more."""
        first = datetime.fromisoformat(second).replace(tzinfo=UTC) - OVERLAP
        self._since = f"{first:%Y-%m-%dT%H:%M:%S}"
        self._seen = {each: found for each, found in self._seen.items() if each >= self._since}
