"""Measures the leader of a large job when all is quiet: its processor time and its memory.

The agents are lines to it without ranks: each says that it runs, waits for the answer, and says so again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from support.agent_runs import TOKEN, agents_in, plan, wait_for
from support.ports import free_port

from ftjob_protocol.orders import agent_path
from ftjob_protocol.signing.signature import ANSWER_HEADER, NONCE, REQUEST_HEADER, Sender

SECONDS = 30.0
SETTLE_SECONDS = 7.0


class Line:
    """One agent's connection."""

    def __init__(self, port: int, index: int) -> None:
        self._port, self._path = port, agent_path("worker", index)
        self._sender = Sender(TOKEN)
        self._message = {
            "version": 1,
            "attempt": 0,
            "life": str(index),
            "state": "Running",
            "ranks": [{"rank": index, "state": "Running", "step": 0, "timeNs": 0}],
        }
        self.answers = 0

    async def keep(self) -> None:
        """Talk until cancelled; come back where a busy machine has made it late."""
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._talk()
            await asyncio.sleep(0.1)

    async def _talk(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._sender.welcome(200, await self._ask("GET", NONCE))
        seen = 0
        while True:
            self.answers += 1
            body = json.dumps({**self._message, "sequence": self.answers, "seen": seen}).encode()
            seen = json.loads(await self._ask("POST", self._path, body))["version"]

    async def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        signed = self._sender.sign(method, path, body)
        head = f"{method} {path} HTTP/1.1\r\nHost: leader\r\nAccept-Encoding: identity\r\n"
        head += f"Content-Type: application/json\r\n{REQUEST_HEADER}: {signed.header()}\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        told = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.split(": ") for line in told.split("\r\n")[1:-2])
        answer = await self._reader.readexactly(int(fields["Content-Length"]))
        self._sender.check(signed, int(told.split(" ")[1]), answer, fields[ANSWER_HEADER])
        return answer


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process so far; ticks of its clock would be too coarse."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def megabytes(pid: int) -> float:
    """Return the memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def measure(count: int, seconds: float) -> None:
    """Print all figures."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, agents_in(Path(folder)) as agents:
        config = plan(port=port, agents=count, worldSize=count, roles={"worker": count})
        leader = agents.start(config, [sys.executable, "-S", "-c", "import signal; signal.pause()"])
        wait_for(leader.progress, "the leader's answer")
        pid = leader.process.pid
        lines = [Line(port, index) for index in range(1, count)]
        tasks = [asyncio.create_task(line.keep()) for line in lines]
        await asyncio.sleep(SETTLE_SECONDS)
        began, used, heard = time.monotonic(), processor_seconds(pid), sum(line.answers for line in lines)
        await asyncio.sleep(seconds)
        used, took = processor_seconds(pid) - used, time.monotonic() - began
        heard = sum(line.answers for line in lines) - heard
        print(f"leader of {count} agents, all quiet: {used / took:.2%} of a core, {megabytes(pid):.0f} MB")
        print(f"  {heard / took:.0f} messages a second, {1e6 * used / heard:.0f} us each", flush=True)
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    asyncio.run(measure(options.agents, options.seconds))


if __name__ == "__main__":
    main()
