"""Measures what signing and checking cost the leader's port: requests of many agents, with and without.

All is in one process, so that only the handling of requests is measured, and what else the machine does
matters little: processor time, in turns, and the median of many turns.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from contextlib import ExitStack
from statistics import median
from unittest import mock

from support.agent_runs import TOKEN, plan
from support.ports import free_port

from ftjob_agent.loop import Loop
from ftjob_agent.star.leader import Leader
from ftjob_protocol.agent_config import parse
from ftjob_protocol.orders import agent_path
from ftjob_protocol.signing.signature import NONCE, REQUEST_HEADER, Receiver, Sender, Signature

TURNS = 40


class Star:
    """A leader, and lines to it that stand for agents."""

    def __init__(self, count: int) -> None:
        port = free_port()
        self.loop = Loop()
        self.number = 0
        config = plan(port=port, agents=count, worldSize=count, roles={"worker": count})
        self._leader = Leader(self.loop, parse(json.dumps(config)), TOKEN)
        self._leader.send(json.loads(self._body(0)))
        self.senders = [Sender(TOKEN) for _ in range(1, count)]
        self.lines: list[socket.socket] = []
        for sender in self.senders:
            line = socket.create_connection(("127.0.0.1", port))
            self.lines.append(line)
            line.sendall(request("GET", NONCE, sender.sign("GET", NONCE)))
            sender.welcome(200, self._answer(line).partition(b"\r\n\r\n")[2])

    def turn(self) -> float:
        """Have every line ask and be answered; return the processor time of the leader for each, in us."""
        self.number += 1
        for index, (line, sender) in enumerate(zip(self.lines, self.senders, strict=True), 1):
            path, body = agent_path("worker", index), self._body(index)
            line.sendall(request("POST", path, sender.sign("POST", path, body), body))
        began = time.process_time()
        for _ in range(10):  # each handles all that is there
            self.loop.wait(time.monotonic())
        used = time.process_time() - began
        for line in self.lines:
            assert line.recv(4096).startswith(b"HTTP/1.1 200")
        return 1e6 * used / len(self.lines)

    def _body(self, index: int) -> bytes:
        ranks = [{"rank": index, "state": "Running", "step": self.number, "timeNs": 0}]
        told = {"version": 1, "attempt": 0, "life": str(index), "state": "Running", "ranks": ranks}
        return json.dumps({**told, "sequence": self.number, "seen": -1}).encode()

    def _answer(self, line: socket.socket) -> bytes:
        line.setblocking(False)
        while True:
            self.loop.wait(time.monotonic())
            try:
                return line.recv(4096)
            except BlockingIOError:
                continue


def request(method: str, path: str, signed: Signature, body: bytes = b"") -> bytes:
    """Return what an agent sends."""
    head = f"{method} {path} HTTP/1.1\r\nHost: leader\r\nAccept-Encoding: identity\r\n"
    head += f"Content-Type: application/json\r\n{REQUEST_HEADER}: {signed.header()}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def without_signatures(star: Star) -> float:
    """Return the time of a turn in which the leader believes everybody, and signs nothing."""
    anyone = Signature("", 1, "", "")
    with ExitStack() as changed:
        for owner, name, value in (
            (Receiver, "accept", lambda *_: anyone),
            (Signature, "covers", lambda *_: True),
            (Receiver, "sign", lambda *_: ""),
        ):
            changed.enter_context(mock.patch.object(owner, name, value))
        return star.turn()


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args()
    star = Star(options.agents)
    star.turn()
    pairs = [(star.turn(), without_signatures(star)) for _ in range(options.turns)]
    signed, other = (median(values) for values in zip(*pairs, strict=True))
    ratio = median(one / two for one, two in pairs)
    print(f"a request of {options.agents} agents: {signed:.1f} us, without signatures {other:.1f} us")
    print(f"signatures cost {ratio - 1:.1%} more (median of {options.turns} turns)")


if __name__ == "__main__":
    main()
