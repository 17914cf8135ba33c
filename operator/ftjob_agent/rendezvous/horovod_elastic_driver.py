"""Horovod's elastic driver on a fixed port; run as a child by the trainer's own Python, which has Horovod.

It starts nothing itself: hosts come in as lines of JSON on stdin, and what it wants started goes out on
stdout.

    in   {"hosts": {"worker-0.0": 2}}     who is there, with the number of slots
         {"exit": [3, 0]}                 a slot has ended with this code
         {"peers": ["10.0.0.7"]}          the hosts that may speak to it
    out  {"ready": true}
         {"start": {"id": 3, "host": "worker-0.0", "localRank": 1, "numbers": {"RANK": 1, "SIZE": 2, ...}}}
         {"stop": 3}                      this slot is not wanted any more
         {"ended": ""}                    the driver has ended; the text says why if it gave up

It ends when its stdin does, that is with the agent.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from ftjob_agent.rendezvous.guard import Guard, RecordPickle, RefusedError, worker_addresses
from ftjob_protocol.variables import Number

ANNOUNCE_SECONDS = 5.0
"""How often hosts that have no rank yet are announced again: the driver tells nobody of a host that comes
before its workers have registered."""
PUT_WORKER_ADDRESSES = "worker_addresses"
"""Under this scope a rank tells where it hears of changes (``horovod/runner/elastic/rendezvous.py``)."""
COOLDOWN = (1, 3)
"""Seconds before a host on which a rank has failed is used again; without it, that would be never."""


def serve(host: str, port: int, least: int, most: int, timeout: int) -> None:
    """Serve until stdin ends."""
    try:
        from horovod.runner.common.util import network
        from horovod.runner.elastic.discovery import HostDiscovery
        from horovod.runner.elastic.driver import ElasticDriver
        from horovod.runner.elastic.rendezvous import create_rendezvous_handler
        from horovod.runner.http.http_server import RendezvousHTTPServer, RendezvousServer
    except ImportError as error:
        _say(error=f"horovod cannot be imported by {sys.executable} ({error}); use an image that has Horovod")
        return
    network.cloudpickle = RecordPickle(network.cloudpickle)
    hosts, guard = _Hosts(), Guard()

    class Discovery(HostDiscovery):  # type: ignore[misc]
        def find_available_hosts_and_slots(self) -> dict[str, int]:
            return hosts.announced(set(driver.host_assignments) if driver is not None else set())

    class Server(RendezvousServer):  # type: ignore[misc]
        """The driver starts none by itself, and Horovod's own takes any port."""

        def start(self, handler_cls: Any) -> None:
            self._httpd = guard.protect(RendezvousHTTPServer)((host, port), handler_cls, 0)
            self._listen_thread = threading.Thread(target=self._httpd.serve_forever, daemon=True)
            self._listen_thread.start()

    driver: Any = None
    server = Server(0)
    driver = ElasticDriver(
        server, Discovery(), min_num_proc=least, max_num_proc=most, timeout=timeout, cooldown_range=COOLDOWN
    )
    try:
        server.start(_guarded(create_rendezvous_handler(driver), driver))
    except OSError as error:
        _say(
            error=f"port {port} cannot be opened ({error.strerror}); with hostNetwork another job on this "
            "node may have it: give the jobs different nodes, or leave hostNetwork out"
        )
        os._exit(0)
    _say(ready=True)
    slots = _Slots()
    _listen(driver, guard, hosts, slots)
    os._exit(0)


def _guarded(handler: type[Any], driver: Any) -> type[Any]:
    """Return Horovod's handler, which believes only a rank's own addresses, and runs nothing of its data."""

    class Handler(handler):  # type: ignore[misc]
        def do_PUT(self) -> None:  # noqa: N802  Python's name
            try:
                super().do_PUT()
            except RefusedError:
                self.send_status_code(400)

        def _put_value(self, scope: str, key: str, value: bytes) -> None:
            if scope == PUT_WORKER_ADDRESSES:
                host, _, local_rank = key.partition(":")
                driver.register_worker_server(
                    host, int(local_rank), *worker_addresses(value, self.client_address[0])
                )
                return  # nobody reads them here, and they hold the key of the rank's service
            super()._put_value(scope, key, value)

    return Handler


def _listen(driver: Any, guard: Guard, hosts: _Hosts, slots: _Slots) -> None:
    began = False
    for line in sys.stdin:
        said = json.loads(line)
        if "peers" in said:
            guard.change(said["peers"])
        if "hosts" in said:
            hosts.change(said["hosts"])
            if not began:
                began = True
                threading.Thread(target=_drive, args=(driver, hosts.count, slots), daemon=True).start()
        if "exit" in said:
            slots.end(*said["exit"])


def _drive(driver: Any, count: int, slots: _Slots) -> None:
    """Start the ranks and say so when the driver has ended."""
    try:
        driver.start(count, slots.work)
        while not driver.finished():
            time.sleep(0.2)
        _say(ended=driver.get_results().error_message or "")
    except Exception as error:
        _say(ended=f"{type(error).__name__}: {error}")


class _Hosts:
    """Who is there."""

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._hidden_at = 0.0
        self._is_first_known = False

    @property
    def count(self) -> int:
        """Their slots."""
        return sum(self._slots.values())

    def change(self, slots: dict[str, int]) -> None:
        """Take in who is there now."""
        self._slots = dict(slots)

    def announced(self, ranked: set[str]) -> dict[str, int]:
        """Return the hosts; those without ranks are left out for a moment, so that they are news again."""
        slots, now = self._slots, time.monotonic()
        if slots and not self._is_first_known:
            # Hosts have ranks in the order in which they came, and those that come together in any order:
            # the leader's comes alone, so that rank 0 is in worker 0.
            self._is_first_known = True
            return dict([next(iter(slots.items()))])
        if not ranked or slots.keys() <= ranked:
            self._hidden_at = now
        elif now - self._hidden_at > ANNOUNCE_SECONDS:
            self._hidden_at = now
            return {host: number for host, number in slots.items() if host in ranked}
        return slots


class _Slots:
    """What was started and has not ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = -1
        self._codes: dict[int, int] = {}
        self._ended: dict[int, threading.Event] = {}

    def work(self, slot: Any, events: list[threading.Event]) -> tuple[int, float]:
        """Have a slot started; return its exit code and when it ended. The driver's threads call this."""
        ended = threading.Event()
        with self._lock:
            self._last += 1
            number = self._last
            self._ended[number] = ended
        _say(
            start={
                "id": number,
                "host": slot.hostname,
                "localRank": slot.local_rank,
                "numbers": {
                    Number.HOSTNAME: slot.hostname,
                    Number.RANK: slot.rank,
                    Number.SIZE: slot.size,
                    Number.LOCAL_SIZE: slot.local_size,
                    Number.CROSS_RANK: slot.cross_rank,
                    Number.CROSS_SIZE: slot.cross_size,
                },
            }
        )
        is_told = False
        while not ended.wait(0.2):
            if not is_told and any(event.is_set() for event in events):
                is_told = True
                _say(stop=number)
        return self._codes[number], time.time()

    def end(self, number: int, code: int) -> None:
        """Take in that a slot has ended."""
        self._codes[number] = code
        self._ended[number].set()


def _say(**words: object) -> None:
    # One write, since several threads speak.
    os.write(1, (json.dumps(words) + "\n").encode())


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
