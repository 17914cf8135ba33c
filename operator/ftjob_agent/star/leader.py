"""The centre of the star: answers agents and operator from the leader's book."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

from ftjob_agent import linux
from ftjob_agent.config import ConfigError
from ftjob_agent.loop import Loop, Timer
from ftjob_agent.star.book import Book, Key, NotYetError, RefusedError, hold_seconds
from ftjob_agent.star.books import elastic_book, in_place_book
from ftjob_agent.star.captures.automatic import Automatic
from ftjob_agent.star.captures.captures import Captures
from ftjob_agent.star.hang_judge import Watchdog
from ftjob_agent.star.lookup import own_address
from ftjob_agent.star.server import STRANGERS, HttpError, Request, Server, listen, read_seconds
from ftjob_agent.star.slow.listener import Listener
from ftjob_protocol import orders
from ftjob_protocol.captures.order import PATH as CAPTURE
from ftjob_protocol.captures.order import CaptureOrder
from ftjob_protocol.orders import Order, OrderKind
from ftjob_protocol.signing.signature import Receiver
from ftjob_protocol.states import Command
from ftjob_protocol.variables import LEADER_IP

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig
    from ftjob_protocol.captures.window import Window
    from ftjob_protocol.failures import Failure
    from ftjob_protocol.vitals.block import Lengths

OPERATOR_CONNECTIONS = 64
LONGEST_WAIT = 60.0


class _Held:
    """A request that waits for news."""

    def __init__(self, request: Request, timer: Timer) -> None:
        self.request, self.timer = request, timer


class Leader:
    """The contact of the leader's own agent; the others come in by HTTP."""

    def __init__(self, loop: Loop, config: AgentConfig, token: str) -> None:
        self._loop, self._config = loop, config
        self._key: Key = (config.role, config.index)
        self._hold = hold_seconds(config)
        now = time.monotonic()
        self._elastic, self._conductor = elastic_book(config, now)
        self._in_place = in_place_book(config, now)
        self.book: Book = self._elastic or self._in_place or Book(config, now)
        self.book.is_ready = config.rendezvous is None
        self._watchdog = Watchdog(self.book, config.watchdog.hang_seconds) if config.watchdog else None
        self.captures = Captures(config, self.book, self._tell_captures)
        self._automatic = Automatic(self.book, self.captures)
        self._steps = Listener(self.book, config.strategy, loop.post, self._release, self._automatic.explain)
        self.delivered = -1
        """The number of the last message of the leader's own agent."""
        self._agents: dict[Key, _Held] = {}
        self._watchers: list[_Held] = []
        self._told, self._shown = self.book.answer_version, self.book.version
        self._address = ""
        self._say: Callable[[dict[str, Any]], None] = lambda _word: None
        self._peers: dict[Key, str] = {}
        """The address of each agent that has reported: its ranks may use the rendezvous."""
        self._let_in: list[str] = []
        try:
            listener = listen(config.leader.host, config.port)
        except OSError as error:
            raise ConfigError(
                f"port {config.port} cannot be opened for the agents of this job ({error.strerror}); with "
                "hostNetwork another job on this node may have it: give the jobs different nodes, or leave "
                "hostNetwork out"
            ) from None
        agents = config.elastic.max_workers if config.elastic else config.agents
        connections, strangers = 2 * agents + OPERATOR_CONNECTIONS, agents + STRANGERS
        linux.allow_files(connections + strangers + 256)
        receiver = Receiver(token, senders=2 * connections)
        Server(loop, listener, receiver, self._handle, connections=connections, strangers=strangers)

    @property
    def command(self) -> str:
        """Wait, Start or Stop."""
        return self.book.command

    @property
    def attempt(self) -> int:
        """The attempt that the command is about."""
        return self.book.attempt

    @property
    def is_halted(self) -> bool:
        """Whether the ranks of all agents are known to be dead, and may be started again."""
        return self._in_place is not None and self._in_place.is_halted

    @property
    def slots(self) -> tuple[int, list[dict[str, Any]]]:
        """The version of the answer, and the slots that it wants of the leader's own agent."""
        return self.book.answer_version, self.book.slots_of(self._key)

    @property
    def stacks(self) -> int:
        """The version of the answer that asks for stacks; 0 for none."""
        return self.book.stacks_asked

    @property
    def block_lengths(self) -> Lengths:
        """How many steps a block has."""
        return self._steps.block_lengths

    @property
    def capture(self) -> Optional[Window]:
        """The capture that is under way."""
        return self.captures.window

    @property
    def reason(self) -> Optional[Failure]:
        """Why the attempt has to stop."""
        return self.book.failure

    def send(self, message: dict[str, Any]) -> None:
        """Take in the message of the leader's own agent."""
        now = time.monotonic()
        self.book.hear(self._key, message, now)
        self._steps.hear(self._key, message, now)
        self.captures.hear(self._key, message, now)
        self.delivered = int(message["sequence"])
        self._release()

    def conduct(self, say: Callable[[dict[str, Any]], None]) -> None:
        """Tell the rendezvous' child who may use it, and let it choose the slots of an elastic job."""
        self._say, self._let_in = say, []
        if self._elastic is not None:
            from ftjob_agent.star.horovod_driver import HorovodDriver

            self._conductor = HorovodDriver(self._elastic, say)

    def hear(self, word: dict[str, Any]) -> None:
        """Take in what the child that serves the rendezvous says, once it is ready."""
        if self._conductor is not None:
            self._conductor.hear(word)
        self._release()

    def doubt(self, now: float) -> None:
        """Do nothing: the book asks all agents once it is told of lost peers."""

    def why_waiting(self) -> str:
        """Return whom all wait for."""
        return self.book.why_waiting(time.monotonic())

    def tell_why(self) -> None:
        """Do nothing: the leader answers the operator anyway."""

    def trouble(self, now: float) -> Optional[Failure]:
        """Return why the attempt can't go on, as far as contact is concerned."""
        self._hear_self(now)
        found = self.book.lost(now)
        if found is not None and self.book.command != Command.STOP:
            self.book.stop(found)
        if self._watchdog is not None:
            self._watchdog.look(now)
        self._steps.look(now)
        self._automatic.look(self._steps.verdict, is_blind=self._steps.is_blind, now=now)
        self.captures.look(now)
        self._release()
        return found

    def next_look(self, now: float) -> float:
        """Return when `trouble` may change by itself."""
        looks = [self.book.next_look(now), self.captures.next_look(now)]
        looks += [self._conductor.next_look(now)] if self._conductor is not None else []
        watched = self._watchdog.next_look() if self._watchdog is not None else None
        looks += [watched] if watched is not None else []
        return min(looks)

    def is_done(self) -> bool:
        """Whether all agents have reported an end."""
        now = time.monotonic()
        self._hear_self(now)
        return self.book.all_ended(now)

    def stop(self, reason: Failure) -> None:
        """Tell all agents to stop."""
        self.book.stop(reason)
        self._release()

    def give_up(self, why: str) -> None:
        """Have the agents end whose ranks were to be started again."""
        if self._in_place is not None:
            self._in_place.give_up(why)
        self._release()

    def set_ready(self, is_ready: bool) -> None:
        """Say whether the rendezvous is up."""
        self.book.set_ready(is_ready, time.monotonic())
        self._release()

    def place(self) -> tuple[str, str]:
        """Return the leader's address as its peers see it, and the interface that has it."""
        address = self._address
        if not address and (self._config.agents > 1 or self._config.elastic is not None):
            address = own_address(self._config.leader.host)
        address = address or "127.0.0.1"
        return address, linux.interface_of(address, address)

    def servers(self) -> Sequence[str]:
        """Return host and port of what each worker serves, in rank order; agents fill in the leader's."""
        if self._config.server_port is None:
            return ()
        found = sorted(self.book.members.items(), key=lambda item: min(item[1].ranks, default=0))
        own = f"{LEADER_IP}:{self._config.server_port}"
        return [own if key == self._key else member.server for key, member in found]

    def _tell_captures(self, to_agents: bool) -> None:
        self.book.version += 1
        self.book.answer_version += to_agents

    def _state(self) -> dict[str, Any]:
        return replace(self._steps.state(), asked=self.captures.asked()).as_json()

    def _told_to(self, key: Key) -> dict[str, Any]:
        window = self.captures.window
        capture = {"capture": window.as_json()} if window is not None else {}
        return {**self.book.answer(key), **self.block_lengths.as_json(), **capture}

    def _hear_self(self, now: float) -> None:
        own = self.book.members.get(self._key)
        if own is not None:
            own.heard = now

    def _handle(self, request: Request) -> None:
        path = f"/{request.path.strip('/')}"
        agent = orders.read_agent_path(path)
        if request.path == orders.HEALTH:
            request.reply({"status": "ok"})
        elif path == orders.PROGRESS:
            _expect(request, "GET")
            if self._in_place is not None:
                self._in_place.is_watched = True
            self._watch(request)
        elif path in {orders.START, orders.END}:
            _expect(request, "POST")
            self._order(request, path)
        elif path == CAPTURE:
            _expect(request, "POST")
            self._order_capture(request)
        elif path == orders.SERVERS:
            _expect(request, "GET")
            if self.book.command == Command.WAIT:
                raise HttpError(409, "not all agents are there")
            request.reply({"servers": list(self.servers())})
        elif agent is not None:
            _expect(request, "POST")
            self._agent(request, agent)
        else:
            raise HttpError(404, f"there is nothing at {request.path}")

    def _order(self, request: Request, path: str) -> None:
        """Take the operator's word on what follows a failure; to say it again changes nothing."""
        try:
            order = Order.read(path, request.document())
        except ValueError as error:
            raise HttpError(400, str(error)) from None
        if self._in_place is None:
            raise HttpError(409, "the ranks of this job are not started again in place")
        try:
            if order.command is OrderKind.START:
                self._in_place.order_start(order.attempt, order.wait_seconds, time.monotonic())
            else:
                self._in_place.order_end(order.attempt)
        except RefusedError as error:
            raise HttpError(409, str(error)) from None
        self._release()
        request.reply(self._state())

    def _order_capture(self, request: Request) -> None:
        """Take the operator's word on a capture; the state that is answered says if it is refused."""
        try:
            self.captures.order(CaptureOrder.read(request.document()), time.monotonic())
        except ValueError as error:
            raise HttpError(400, str(error)) from None
        self._release()
        request.reply(self._state())

    def _agent(self, request: Request, key: Key) -> None:
        data = request.document()
        if key == self._key:
            raise HttpError(409, f"{key[0]}-{key[1]} is the leader itself")
        try:
            is_news = self.book.hear(key, data, time.monotonic())
        except NotYetError:
            answer = {**self._told_to(key), "command": Command.WAIT, "slots": []}
            self._loop.call_at(time.monotonic() + self._hold, lambda: request.reply(answer))
            return
        except RefusedError as error:
            raise HttpError(409, str(error)) from None
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise HttpError(400, f"not a report: {type(error).__name__} {error}") from None
        now = time.monotonic()
        self._steps.hear(key, data, now)
        self.captures.hear(key, data, now)
        self._address, self._peers[key] = request.local_address, request.peer_address
        overtaken = self._agents.pop(key, None)
        if overtaken is not None:
            overtaken.timer.cancel()
            overtaken.request.reply(self._told_to(key))
        self._release()
        if is_news or data.get("seen") != self.book.answer_version:
            request.reply(self._told_to(key))
            return
        timer = self._loop.call_at(now + self._hold, lambda: self._answer_agent(key))
        self._agents[key] = _Held(request, timer)

    def _answer_agent(self, key: Key) -> None:
        held = self._agents.pop(key, None)
        if held is not None:
            held.timer.cancel()
            held.request.reply(self._told_to(key))

    def _watch(self, request: Request) -> None:
        wait = min(read_seconds(request.query.get("wait", "0")), LONGEST_WAIT)
        if wait <= 0 or request.query.get("version") != str(self.book.version):
            request.reply(self._state())
            return
        held = _Held(request, Timer(lambda: None))
        held.timer = self._loop.call_at(time.monotonic() + wait, lambda: self._answer_watcher(held))
        self._watchers.append(held)

    def _answer_watcher(self, held: _Held) -> None:
        self._watchers.remove(held)
        held.timer.cancel()
        held.request.reply(self._state())

    def _release(self) -> None:
        """Answer all who wait for what has changed."""
        if self._shown != self.book.version:
            self._let_peers_in()
        if self._conductor is not None:
            self._conductor.look(time.monotonic())
        if self._told != self.book.answer_version:
            self._told = self.book.answer_version
            for key in list(self._agents):
                self._answer_agent(key)
        if self._shown != self.book.version:
            self._shown = self.book.version
            for held in list(self._watchers):
                self._answer_watcher(held)

    def _let_peers_in(self) -> None:
        """Tell the child whose ranks may come, before any of them can have been started."""
        if self.book.command == Command.WAIT or self._config.rendezvous is None:
            return
        now, members = time.monotonic(), self.book.members
        there = {
            address
            for key, address in self._peers.items()
            if not members[key].has_ended and not self.book.is_lost(members[key], now)
        }
        if sorted(there) != self._let_in:
            self._let_in = sorted(there)
            self._say({"peers": self._let_in})


def _expect(request: Request, method: str) -> None:
    if request.method != method:
        raise HttpError(405, f"{request.path} takes {method}")
