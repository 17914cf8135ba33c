"""Tells the operator why an agent waits that its leader has not heard of: nobody else could."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Optional

from ftjob_agent.star.server import HttpError, Request, Server, listen
from ftjob_protocol import orders
from ftjob_protocol.leader_state import LeaderState
from ftjob_protocol.signing.signature import Receiver
from ftjob_protocol.states import State

if TYPE_CHECKING:
    from ftjob_agent.loop import Loop
    from ftjob_protocol.agent_config import AgentConfig

CONNECTIONS = 8


def waiting_port(loop: Loop, config: AgentConfig, token: str, why: Callable[[], str]) -> Optional[Server]:
    """Answer at the port that a leader would have; None if another program of this host has it."""

    def handle(request: Request) -> None:
        if request.path == orders.HEALTH:
            request.reply({"status": "ok"})
        elif request.path == orders.PROGRESS and request.method == "GET":
            request.reply(LeaderState(config.attempt, State.WAITING, None, waits=why()).as_json())
        else:
            raise HttpError(404, "this agent waits for its leader, and only tells why")

    try:
        listener = listen(config.leader.host, config.port)
    except OSError:
        return None
    return Server(loop, listener, Receiver(token, senders=64), handle, connections=CONNECTIONS)
