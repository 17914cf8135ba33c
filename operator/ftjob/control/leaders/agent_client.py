"""Requests to the agents of index 0 (docs/agent-protocol.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import orjson

from ftjob.api.job import Job
from ftjob.models.layout import rank_order
from ftjob.plan.build.token import job_token
from ftjob.plan.layout import agent_port, worker_port
from ftjob_protocol import orders
from ftjob_protocol.leader_state import LIMIT, LeaderState
from ftjob_protocol.signing.signature import ANSWER_HEADER, NONCE, REQUEST_HEADER, Sender, SignatureError

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob, JobHead
    from ftjob.plan.observed.pod import PodState
    from ftjob_protocol.captures.order import CaptureOrder
    from ftjob_protocol.orders import Order

TIMEOUT_SECONDS = 3.0
"""For the connection, and for an answer beyond the time that it was asked to wait."""


class AgentError(Exception):
    """There was no answer, or none that says anything about the job."""


class AnswerError(AgentError):
    """What answered is no leader: it says too much, or what can't be. The text, our own, says what."""


@dataclass(frozen=True)
class _Question:
    """What a leader is asked or told."""

    method: str
    target: str
    body: bytes = b""
    wait: float = 0.0
    """So long the answer may be held back."""


class Agents:
    """Sends requests to the leaders of all jobs.

    Parameters
    ----------
    key
        The installation's key; each job's token is derived from it.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    def sender(self, job: JobHead) -> Sender:
        """Return what signs requests to this job's leader, one after the other."""
        return Sender(job_token(self._key, job.uid))

    async def progress(
        self, job: AnyJob, pods: tuple[PodState, ...], sender: Sender, *, version: int, wait: float
    ) -> LeaderState:
        """Ask for the leader's state; the agent answers at once if it is newer than `version`.

        Parameters
        ----------
        sender
            Of this job; used for nothing else until the answer is there.
        version
            Of the last answer; 0 for none.
        wait
            Seconds after which the agent answers in any case.

        Raises
        ------
        AgentError
        """
        question = _Question("GET", orders.progress_query(version, wait), wait=wait)
        return await self._send(job, pods, sender, question)

    async def why_waiting(self, job: AnyJob, pod: PodState) -> str:
        """Ask an agent that its leader has not heard of why it waits; nothing if it does not say.

        An agent tells it only once it has waited for some seconds.
        """
        port = worker_port(job, pod.role, pod.index) if isinstance(job, Job) else agent_port(job.uid)
        try:
            question = _Question("GET", orders.PROGRESS)
            return (await self._send_to(_address(pod, port), self.sender(job), question)).waits
        except AgentError:
            return ""

    async def order(
        self, job: AnyJob, pods: tuple[PodState, ...], order: Order | CaptureOrder
    ) -> LeaderState:
        """Tell the leader what becomes of dead ranks, or what to capture; to repeat an order changes nothing.

        Raises
        ------
        AgentError
        """
        question = _Question("POST", order.path, orjson.dumps(order.as_json()))
        return await self._send(job, pods, self.sender(job), question)

    async def _send(
        self, job: AnyJob, pods: tuple[PodState, ...], sender: Sender, question: _Question
    ) -> LeaderState:
        leader = _leader_of(job, pods)
        if leader is None:
            raise AgentError("no pod of index 0 runs")
        return await self._send_to(_address(leader, agent_port(job.uid)), sender, question)

    async def _send_to(self, address: str, sender: Sender, question: _Question) -> LeaderState:
        origin = f"http://{address}"
        try:
            if sender.nonce:
                try:
                    return await self._ask(origin, sender, question)
                except SignatureError:
                    pass  # another agent is the leader by now, or it has begun anew
            sender.welcome(*await self._exchange(origin, sender, _Question("GET", NONCE)))
            return await self._ask(origin, sender, question)
        except TimeoutError as error:
            raise AgentError(f"no answer at {address}") from error
        except aiohttp.ClientConnectorError as error:
            raise AgentError(f"no connection to {address}: {error.strerror}") from error
        except (aiohttp.ClientError, SignatureError) as error:
            raise AgentError(str(error) or type(error).__name__) from error

    async def _ask(self, origin: str, sender: Sender, question: _Question) -> LeaderState:
        status, raw = await self._exchange(origin, sender, question)
        if status != 200:
            raise AgentError(f"HTTP {status}: {raw[:200].decode('utf-8', 'replace')}")
        try:
            return LeaderState.read(orjson.loads(raw))
        except orjson.JSONDecodeError as error:
            raise AnswerError("it is not JSON") from error
        except ValueError as error:
            raise AnswerError(str(error)) from error

    async def _exchange(self, origin: str, sender: Sender, question: _Question) -> tuple[int, bytes]:
        """Send a request; return status and body of the answer, which is one to this request."""
        if self._session is None:
            # One request is held for each job, so the number of connections is that of the jobs.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), read_bufsize=1 << 14
            )
        signed = sender.sign(question.method, question.target, question.body)
        timeout = aiohttp.ClientTimeout(total=question.wait + TIMEOUT_SECONDS, sock_connect=TIMEOUT_SECONDS)
        # A pod may say anything: no redirects, and no more than a leader has to say.
        async with self._session.request(
            question.method,
            origin + question.target,
            data=question.body or None,
            headers={REQUEST_HEADER: signed.header()},
            allow_redirects=False,
            timeout=timeout,
        ) as answer:
            raw = b""
            async for chunk in answer.content.iter_any():
                raw += chunk
                if len(raw) > LIMIT:
                    raise AnswerError(f"it has more than {LIMIT} bytes")
            sender.check(signed, answer.status, raw, answer.headers.get(ANSWER_HEADER))
            return answer.status, raw


def _leader_of(job: AnyJob, pods: tuple[PodState, ...]) -> PodState | None:
    """Return the pod of the present attempt's index 0, of the first role in rank order."""
    present = (p for p in pods if p.attempt == job.status.pod_attempt and not p.is_over)
    leaders = [p for p in present if p.index == 0 and p.role in {"chief", "worker"} and p.running and p.ip]
    return min(leaders, key=lambda p: rank_order(p.place), default=None)


def _address(pod: PodState, port: int) -> str:
    """Return where an agent of a pod listens, as it stands in a URL."""
    return f"[{pod.ip}]:{port}" if ":" in (pod.ip or "") else f"{pod.ip or ''}:{port}"
