"""An agent's line to the leader: a thread that sends a message, waits for the answer, and sends the next."""

from __future__ import annotations

import http.client
import json
import math
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Optional, Sequence

from ftjob_agent import linux
from ftjob_agent.exit import stopped
from ftjob_agent.star.book import HOST_LIMIT, doubt_seconds, hold_seconds
from ftjob_agent.star.lookup import FIRST_PAUSE, LONGEST_PAUSE, Lookup
from ftjob_agent.star.waiting import waiting_port
from ftjob_protocol import orders
from ftjob_protocol.captures.window import Window
from ftjob_protocol.failures import Failure, FailureType
from ftjob_protocol.signing.exchange import exchange, greet, receive, send
from ftjob_protocol.signing.signature import Sender, SignatureError
from ftjob_protocol.states import Command
from ftjob_protocol.values.peers import address
from ftjob_protocol.vitals.block import Lengths

if TYPE_CHECKING:
    from ftjob_agent.loop import Loop
    from ftjob_agent.star.server import Server
    from ftjob_protocol.agent_config import AgentConfig

UNREACHED_TIMES = 10
"""A worker that an elastic job does without tries the leader for so many times the contact timeout."""


class Client:
    """The contact of an agent that is not the leader."""

    def __init__(self, loop: Loop, config: AgentConfig, token: str) -> None:
        self._loop, self._config = loop, config
        self._timeout = hold_seconds(config) + min(10.0, config.contact_timeout / 3)
        self._sender = Sender(token)
        self._path = orders.agent_path(config.role, config.index)
        self._began = time.monotonic()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._message: dict[str, Any] = {}
        self._addresses = ("", "")
        self._lookup = Lookup(config.leader.host, config.namespace, config.agents)
        self._servers: Sequence[str] = ()
        self._leader_host = ""
        self._answered: Optional[float] = None
        self.delivered = -1
        """The number of the last message that the leader has."""
        self.block_lengths = Lengths()
        """How many steps a block has, as the leader says."""
        self._is_gone = False
        self._doubted = math.inf
        """Since when the leader is to show that it is there."""
        self._unreached: Optional[float] = None
        """Since when the network keeps this agent from the leader, which has an address."""
        self._error = "it has not been asked yet"
        self._why, self._token = "", token
        self._port: Optional[Server] = None
        self._is_in_doubt = False
        """Whether the last round failed: then the leader is to answer at once, whether it has news or not."""
        self.command: str = Command.WAIT
        self.attempt = config.attempt
        """The attempt that the command is about."""
        self.reason: Optional[Failure] = None
        self.slots: tuple[int, list[dict[str, Any]]] = (0, [])
        """The version of the answer, and the slots of an elastic job that it wants of this agent."""
        self.stacks = 0
        """The version of the answer that asks for stacks; 0 for none."""
        self.capture: Optional[Window] = None
        """The capture that is under way, as the leader wants it."""
        self._seen = 0
        self._thread = threading.Thread(target=self._run, name="ftjob-client", daemon=True)

    def send(self, message: dict[str, Any]) -> None:
        """Let this be sent: at once if a state is new, else with the next round."""
        is_news = _states(message) != _states(self._message)
        self._message = message
        if not self._thread.ident:
            self._thread.start()
        elif is_news:
            try:
                os.write(self._wake, b"\0")
            except BlockingIOError:
                pass  # it is awake

    def doubt(self, now: float) -> None:
        """Have the leader show that it is there: news like a rank's end is answered at once."""
        self._doubted = min(self._doubted, now)

    def why_waiting(self) -> str:
        """Return what keeps this agent from its leader, or that the leader waits for others."""
        leader = self._config.leader
        if self._answered is not None and not self._is_in_doubt:
            return f"waits for the leader at {leader.host} to have heard of all agents"
        return self._why or f"waits for the leader at {leader.host}:{leader.port}"

    def tell_why(self) -> None:
        """Answer the operator, which can't hear it from a leader that this agent does not reach."""
        if self._port is None:
            self._port = waiting_port(self._loop, self._config, self._token, self.why_waiting)

    def trouble(self, now: float) -> Optional[Failure]:
        """Return why the ranks can't go on, or can't start, without the leader."""
        limit, leader = self._config.contact_timeout, self._config.leader
        where = f"the leader at {leader.host}:{leader.port}"
        if self._leader_host:
            where += f" ({self._leader_host})"
        if self.command == Command.WAIT:
            # As long as the leader answers it is the one who says for how long, and for whom, all wait.
            if now < self._wait_limit:
                return None
            waited = self._config.start_timeout or UNREACHED_TIMES * limit
            text = (
                f"peers absent: {where} did not answer ({self._error}); see why its pod does not run or is "
                f"cut off (after {waited:g} s)"
            )
            return stopped(text, FailureType.PEERS_ABSENT)
        silent = now - (self._answered or now)
        if silent >= limit:
            text = f"lost contact with {where} for {limit:g} s ({self._error}), so the ranks were ended"
            return stopped(text, FailureType.LOST_CONTACT)
        if now - self._doubted >= doubt_seconds(self._config) and silent >= now - self._doubted:
            text = f"no word from {where} for {silent:.0f} s ({self._error}), in which ranks lost their peers"
            return stopped(text, FailureType.LOST_CONTACT)
        return None

    def next_look(self, now: float) -> float:
        """Return when `trouble` may change by itself."""
        contact = (self._answered or now) + self._config.contact_timeout
        contact = min(contact, max(self._doubted + doubt_seconds(self._config), now + 1))
        limit = min(self._wait_limit, now + 60) if self.command == Command.WAIT else contact
        return max(limit, now + 0.1)

    @property
    def _wait_limit(self) -> float:
        """Until when the leader may leave this agent without any word."""
        if self._config.start_timeout is None:
            if self._config.elastic is not None and self._unreached is not None:
                return self._unreached + UNREACHED_TIMES * self._config.contact_timeout
            return math.inf  # its pod may not be placed yet, or be made anew
        limit = self._began + self._config.start_timeout
        return limit if self._answered is None else max(limit, self._answered + self._config.contact_timeout)

    def is_done(self) -> bool:
        """Whether the leader has got the last message, or is gone, which it is when it has got all."""
        return self._is_gone or self.delivered >= int(self._message.get("sequence", 0))

    def place(self) -> tuple[str, str]:
        """Return the leader's address and the interface of the route to it."""
        local, remote = self._addresses
        return remote, linux.interface_of(local, remote)

    def servers(self) -> Sequence[str]:
        """Return host and port of what each worker serves, in rank order, once ranks may start."""
        return self._servers

    def _run(self) -> None:
        connection: Optional[http.client.HTTPConnection] = None
        pause = 0.0
        while True:
            if pause:
                self._rest(pause)
            try:
                if connection is None:
                    connection = self._connect()
                if not self._exchange(connection):
                    connection.close()
                    connection = None
                pause = 0.0
                self._lookup.answered()
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._error = str(error) or type(error).__name__
                self._why = _in_words(error, f"{self._config.leader.host}:{self._config.leader.port}")
                self._is_in_doubt = True
                if not _is_unreached(error):
                    self._unreached = None
                elif self._unreached is None:
                    self._unreached = time.monotonic()
                    self._loop.post(lambda: None)  # `next_look` comes sooner now
                self._lookup.failed(time.monotonic())
                if (
                    isinstance(error, ConnectionRefusedError)
                    and self._answered is not None
                    and not self._is_gone
                ):
                    self._is_gone = True
                    self._loop.post(lambda: None)
                if connection is not None:
                    connection.close()
                connection = None
                # Agents of a large job do not all ask in the same instant.
                pause = min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE) * (1 + self._config.index % 16 / 32)

    def _connect(self) -> http.client.HTTPConnection:
        connection = self._connect_to(self._lookup.addresses(time.monotonic()))
        connection.sock.settimeout(self._timeout)
        local, remote = (
            str(name[0]) for name in (connection.sock.getsockname(), connection.sock.getpeername())
        )
        self._addresses = (local, remote)
        return connection

    def _connect_to(self, hosts: Sequence[str]) -> http.client.HTTPConnection:
        """Connect to the first that answers."""
        for left, host in enumerate(hosts, 1 - len(hosts)):
            connection = http.client.HTTPConnection(
                host, self._config.leader.port, timeout=min(3.0, self._timeout)
            )
            try:
                connection.connect()
            except OSError:
                if left == 0:
                    raise
            else:
                break
        return connection

    def _exchange(self, connection: http.client.HTTPConnection) -> bool:
        """Report once and take the answer; False when there is news to be sent before the answer came."""
        greet(connection, self._sender)
        message = {**self._message, "seen": 0 if self._is_in_doubt else self._seen}
        if self._config.server_port is not None:
            message["server"] = address(self._addresses[0], self._config.server_port)
        request = send(connection, self._sender, "POST", self._path, json.dumps(message).encode())
        deadline = time.monotonic() + self._timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([connection.sock, self._woken], [], [], left)
            if self._woken not in readable:
                break
            os.read(self._woken, 4096)
            if self._message["sequence"] != message["sequence"]:
                return False  # unless the waking came a moment after its message was sent
        connection.sock.settimeout(max(0.1, deadline - time.monotonic()))
        status, data = receive(connection, self._sender, request)
        if connection.sock is not None:
            connection.sock.settimeout(self._timeout)
        if status != 200:
            raise ValueError(f"it answered {status}: {data[:200].decode('utf-8', 'replace')}")
        answer = json.loads(data)
        if answer["command"] == Command.START and self._config.server_port is not None and not self._servers:
            self._servers = self._ask_for_servers(connection)
        self._take(answer, int(message["sequence"]))
        return True

    def _ask_for_servers(self, connection: http.client.HTTPConnection) -> Sequence[str]:
        """Ask once, before any rank starts: who is where stays as it is for as long as ranks run."""
        status, data = exchange(connection, self._sender, "GET", orders.SERVERS)
        if status != 200:
            raise ValueError(f"it answered {status} to {orders.SERVERS}")
        return [str(server) for server in json.loads(data)["servers"]]

    def _take(self, answer: dict[str, Any], sequence: int) -> None:
        self._answered = time.monotonic()
        self._leader_host = str(answer.get("host") or "")[:HOST_LIMIT]
        self._is_gone = self._is_in_doubt = False
        self._unreached = None
        is_news = answer["version"] != self._seen or not self.is_done()
        self.delivered = max(self.delivered, sequence)
        self._seen = answer["version"]
        command, reason = str(answer["command"]), Failure.from_json(answer.get("failure"))
        attempt = int(answer.get("attempt", self.attempt))

        slots = (int(answer["version"]), list(answer.get("slots") or ()))

        stacks = int(answer.get("stacks") or 0)
        self.block_lengths = Lengths.read(answer)
        capture = Window.read(answer["capture"]) if answer.get("capture") else None

        def tell() -> None:
            if command != Command.WAIT and self._port is not None:
                self._port.close()
                self._port = None
            self.command, self.attempt, self.reason = command, attempt, reason
            self.slots, self.stacks, self.capture = slots, stacks, capture

        if is_news:
            self._loop.post(tell)

    def _rest(self, seconds: float) -> None:
        if select.select([self._woken], [], [], seconds)[0]:
            os.read(self._woken, 4096)


def _in_words(error: Exception, where: str) -> str:
    """Say what keeps an agent from its leader; what follows the agent's name."""
    host = where.rpartition(":")[0]
    if isinstance(error, socket.gaierror):
        return f"can't resolve {host}"
    if isinstance(error, ConnectionRefusedError):
        return f"finds nobody at {where} yet"
    if isinstance(error, OSError):
        return f"can't reach {where} ({error.strerror or error or type(error).__name__})"
    return f"is not understood at {where}: {error}"


def _is_unreached(error: Exception) -> bool:
    """Whether somebody may be there who is not heard, or is another one."""
    if isinstance(error, (socket.gaierror, ConnectionRefusedError)):
        return False
    return isinstance(error, (OSError, http.client.HTTPException, SignatureError))


def _states(message: dict[str, Any]) -> tuple[Any, ...]:
    ranks = [item["state"] for item in message.get("ranks", [])]
    told = tuple(
        message.get(key) for key in ("state", "failure", "captures", "capture", "slots", "followed", "stacks")
    )
    return (ranks, *told)
