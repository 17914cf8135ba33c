"""What the leader does with the steps that its agents tell of, and what it tells of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional

from ftjob_agent.star.slow.judge import Judge, Scene

if TYPE_CHECKING:
    from ftjob_agent.star.book import Book, Key
    from ftjob_protocol.leader_state import LeaderState
    from ftjob_protocol.vitals.block import Lengths
    from ftjob_protocol.vitals.verdict import Verdict

LOOK_SECONDS = 1.0


class Listener:
    """Stands between the leader's book and its judge of slow jobs.

    Parameters
    ----------
    book
        The leader's, which hears of each message before.
    strategy
        The job's.
    post
        Has a call made in the agent's loop.
    release
        Answers all who wait for news.
    found
        Is called with a verdict that is another one.
    """

    def __init__(
        self,
        book: Book,
        strategy: str,
        post: Callable[[Callable[[], None]], None],
        release: Callable[[], None],
        found: Callable[[Verdict], None],
    ) -> None:
        self._book, self._release, self._found = book, release, found
        self._judge = Judge(strategy, post, self._tell)
        self._seen, self._due = 0, 0.0

    @property
    def verdict(self) -> Optional[Verdict]:
        """Why the job is slow, as far as is known."""
        return self._judge.verdict

    @property
    def is_blind(self) -> bool:
        """Whether steps are seen, and the ranks' work in them is not."""
        return self._judge.is_blind

    @property
    def block_lengths(self) -> Lengths:
        """How many steps a block has."""
        return self._judge.block_lengths

    def hear(self, key: Key, message: Mapping[str, Any], now: float) -> None:
        """Take in what an agent tells of its ranks' steps."""
        member = self._book.members.get(key)
        if member is not None and message.get("vitals"):
            self.look(now)
            self._judge.hear(f"{key[0]}-{key[1]}", message["vitals"], member.ranks)

    def look(self, now: float) -> None:
        """Let the judge know which ranks run: once a second, since there may be a thousand agents."""
        if self._seen != self._book.answer_version or now >= self._due:
            self._seen, self._due = self._book.answer_version, now + LOOK_SECONDS
            self._judge.look(_scene(self._book), now)

    def state(self) -> LeaderState:
        """Return what the operator is told."""
        return replace(self._book.leader_state(), verdict=self._judge.verdict, shares=self._judge.shares())

    def _tell(self) -> None:
        self._book.version += 1
        if self._judge.verdict is not None:
            self._found(self._judge.verdict)
        self._release()


def _scene(book: Book) -> Scene:
    """Return what the judge has to know: an elastic job's ranks are those of its slots."""
    slots = frozenset(str(slot["id"]) for key in book.members for slot in book.slots_of(key))
    told = [member.progress for member in book.members.values() if member.progress]
    lowest = min(told, key=lambda progress: int(progress.get("rank", 0)), default=None)
    return Scene((book.attempt, slots), book.total(), lowest)
