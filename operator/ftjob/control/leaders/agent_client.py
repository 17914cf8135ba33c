"""Requests to the agents of index 0 (docs/agent-protocol.md, section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from ftjob.models.layout import rank_order
from ftjob.plan.build.token import bearer_token
from ftjob.plan.layout import agent_port
from ftjob_protocol import orders
from ftjob_protocol.leader_state import LIMIT, LeaderState

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob
    from ftjob.plan.observed.pod import PodState
    from ftjob_protocol.orders import Order

TIMEOUT_SECONDS = 3.0
"""For the connection, and for an answer beyond the time that it was asked to wait."""


class AgentError(Exception):
    """There was no answer, or none that says anything about the job."""


class AnswerError(AgentError):
    """What answered is no leader: it says too much, or what can't be. The text, our own, says what."""


class Agents:
    """Sends requests to the leaders of all jobs.

    Parameters
    ----------
    key
        The installation's key; each job's bearer token is derived from it.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    async def progress(
        self, job: AnyJob, pods: tuple[PodState, ...], *, version: int, wait: float
    ) -> LeaderState:
        """Ask for the leader's state; the agent answers at once if it is newer than `version`.

        Parameters
        ----------
        version
            Of the last answer; 0 for none.
        wait
            Seconds after which the agent answers in any case.

        Raises
        ------
        AgentError
        """
        return await self._send(job, pods, "GET", orders.progress_query(version, wait), wait=wait)

    async def order(self, job: AnyJob, pods: tuple[PodState, ...], order: Order) -> LeaderState:
        """Tell the leader what becomes of dead ranks; to repeat an order changes nothing.

        Raises
        ------
        AgentError
        """
        return await self._send(job, pods, "POST", order.path, body=order.as_json())

    async def _send(
        self,
        job: AnyJob,
        pods: tuple[PodState, ...],
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        wait: float = 0.0,
    ) -> LeaderState:
        host = _host_of(job, pods)
        if host is None:
            raise AgentError("no pod of index 0 runs")
        if self._session is None:
            # One request is held for each job, so the number of connections is that of the jobs.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), read_bufsize=1 << 14
            )
        headers = orders.bearer(bearer_token(self._key, job.uid))
        timeout = aiohttp.ClientTimeout(total=wait + TIMEOUT_SECONDS, sock_connect=TIMEOUT_SECONDS)
        try:
            # A pod may say anything: no redirects, and no more than a leader has to say.
            async with self._session.request(
                method,
                f"http://{host}:{agent_port(job.uid)}{path}",
                data=None if body is None else orjson.dumps(body),
                headers=headers,
                allow_redirects=False,
                timeout=timeout,
            ) as answer:
                raw = b""
                async for chunk in answer.content.iter_any():
                    raw += chunk
                    if len(raw) > LIMIT:
                        raise AnswerError(f"it has more than {LIMIT} bytes")
                if answer.status != 200:
                    raise AgentError(f"HTTP {answer.status}: {raw[:200].decode('utf-8', 'replace')}")
                return LeaderState.read(orjson.loads(raw))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AgentError(repr(error)) from error
        except orjson.JSONDecodeError as error:
            raise AnswerError("it is not JSON") from error
        except ValueError as error:
            raise AnswerError(str(error)) from error


def _host_of(job: AnyJob, pods: tuple[PodState, ...]) -> str | None:
    """Return the address of the present attempt's index 0, of the first role in rank order."""
    present = (p for p in pods if p.attempt == job.status.pod_attempt and not p.is_over)
    leaders = [p for p in present if p.index == 0 and p.role in {"chief", "worker"} and p.running and p.ip]
    leader = min(leaders, key=lambda p: rank_order(p.place), default=None)
    if leader is None or not leader.ip:
        return None
    return f"[{leader.ip}]" if ":" in leader.ip else leader.ip
