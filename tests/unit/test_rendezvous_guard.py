"""Who may speak to Horovod's servers, and what is read of what they say."""

from __future__ import annotations

import base64
import pickle
import socket
from collections import OrderedDict
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from ftjob_agent.rendezvous.guard import (
    RECORDS_MODULE,
    Guard,
    RecordPickle,
    RefusedError,
    plain_data,
    worker_addresses,
)

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = ({"lo": [("127.0.0.1", 5)], "x": None}, b"key", "é", 1.5, True, [2**70])


class Touch:
    """What makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self._path), "w"))


def value_of(addresses: Any, key: Any = b"key") -> bytes:
    """Return what a rank of Horovod's puts."""
    return base64.b64encode(pickle.dumps((addresses, key)))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_read(protocol: int) -> None:
    if protocol < 3:  # bytes are made by a function there
        assert plain_data(pickle.dumps(PLAIN[0], protocol)) == PLAIN[0]
    else:
        assert plain_data(pickle.dumps(PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_would_run_code_is_refused_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    pickled = pickle.dumps((Touch(tmp_path / "ran"), b"key"), protocol)
    for read in (
        plain_data,
        RecordPickle(pickle).loads,
        lambda data: worker_addresses(base64.b64encode(data), "127.0.0.1"),
    ):
        with pytest.raises(RefusedError):
            read(pickled)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "pickled", [b"", b"\x80\x05", b"garbage", pickle.dumps(OrderedDict()), pickle.dumps(partial(print))]
)
def test_other_pickles_are_refused(pickled: bytes) -> None:
    with pytest.raises(RefusedError):
        plain_data(pickled)


def test_of_the_answers_of_ranks_horovods_two_records_are_read_and_no_class_of_it() -> None:
    ping = (
        b"\x80\x04c"
        + f"{RECORDS_MODULE}\nPingResponse\n".encode()
        + b")\x81}\x8c\x0cservice_name\x8c\x01xsb."
    )
    assert RecordPickle(pickle).loads(ping).service_name == "x"
    with pytest.raises(RefusedError):
        RecordPickle(pickle).loads(ping.replace(b"PingResponse", b"shutil"))
    with pytest.raises(RefusedError):
        plain_data(ping)


def test_only_addresses_of_the_sender_are_believed() -> None:
    told = {"eth0": [("10.0.0.7", 5), ("10.0.0.8", 5)], "eth1": [("10.0.1.7", 5)], "lo": [("127.0.0.1", 5)]}
    assert worker_addresses(value_of(told), "10.0.0.7") == ({"eth0": [("10.0.0.7", 5)]}, b"key")


@pytest.mark.parametrize(
    "value",
    [
        value_of({"eth0": [("10.0.0.8", 5)]}),
        value_of({"eth0": [("10.0.0.7", "5")]}),
        value_of({"eth0": ["10.0.0.7"]}),
        value_of({"eth0": [("10.0.0.7", 5)]}, key="text"),
        value_of([]),
        value_of({}),
        base64.b64encode(pickle.dumps(1)),
        b"no base64",
        value_of({"eth0": [("10.0.0.7", 5)] * 100_000}),
    ],
)
def test_what_holds_no_address_of_the_sender_is_refused(value: bytes) -> None:
    with pytest.raises(RefusedError):
        worker_addresses(value, "10.0.0.7")


def test_only_this_host_and_agents_hosts_are_let_in() -> None:
    guard = Guard()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def is_let_in(source: str) -> bool:
            with closing(socket.create_connection(listener.getsockname(), source_address=(source, 0))):
                connection, _ = listener.accept()
                with connection:
                    return guard.lets_in(connection)

        assert [is_let_in(source) for source in ("127.0.0.1", "127.0.0.2")] == [True, False]
        guard.change(["127.0.0.2"])
        assert [is_let_in(source) for source in ("127.0.0.2", "127.0.0.3")] == [True, False]
        guard.change(["127.0.0.3"])
        assert [is_let_in(source) for source in ("127.0.0.2", "127.0.0.3")] == [False, True]
