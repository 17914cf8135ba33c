"""One rank of an agent, and how all of them are told in short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ftjob_protocol.files import rank_name
from ftjob_protocol.variables import OWN_LOCAL_RANK, OWN_RANK


@dataclass(frozen=True)
class RankSpec:
    """One rank of this agent."""

    rank: int
    local_rank: int
    env: Mapping[str, str]

    @property
    def label(self) -> str:
        """Name of the rank's folders and files."""
        return rank_name(self.rank)

    @classmethod
    def told(cls, rank: int, local_rank: int, common: Mapping[str, Any], own: Mapping[str, Any]) -> RankSpec:
        """Read what `told_once` says of a rank: what it has in common with others, and what is its own."""
        env = {
            str(name): str(value).replace(OWN_LOCAL_RANK, str(local_rank)).replace(OWN_RANK, str(rank))
            for name, value in {**common, **own}.items()
        }
        return cls(rank, local_rank, env)


def told_once(ranks: Sequence[RankSpec]) -> dict[str, Any]:
    """Return the part of the document about ranks: what is the same for all of them is said once."""
    envs = [dict(spec.env) for spec in ranks]
    for name in envs[0] if len(ranks) > 1 else ():
        values = [env.get(name) for env in envs]
        for number, own in (
            (OWN_LOCAL_RANK, [str(spec.local_rank) for spec in ranks]),
            (OWN_RANK, [str(spec.rank) for spec in ranks]),
        ):
            if values == own:
                for env in envs:
                    env[name] = number
    common = {name: value for name, value in envs[0].items() if all(env.get(name) == value for env in envs)}
    shown: list[dict[str, Any]] = []
    for place, env in enumerate(envs):
        own_env = {name: value for name, value in env.items() if name not in common}
        spec = ranks[place]
        shown.append(
            {"rank": spec.rank, "localRank": spec.local_rank, **({"env": own_env} if own_env else {})}
        )
    return {"env": common, "ranks": shown}
