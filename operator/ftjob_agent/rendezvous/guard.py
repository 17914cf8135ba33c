"""Who may speak to Horovod's servers, and what is read of what they say.

Horovod's store authenticates nobody, and its elastic driver unpickles what is put there
(``horovod/runner/elastic/rendezvous.py``), then connects to the addresses that it was told. So only hosts of
the job's agents get in, which have shown its token. Of pickles only plain data is read, since anything else
can run code (https://docs.python.org/3/library/pickle.html#restricting-globals). And only addresses of the
one who tells them are believed.
"""

from __future__ import annotations

import base64
import io
import pickle
from typing import TYPE_CHECKING, Any, Collection, Iterable

if TYPE_CHECKING:
    import socket

RECORDS = frozenset({"AckResponse", "PingResponse"})
"""What ranks answer to the driver; without methods in Horovod, and without any class here."""
RECORDS_MODULE = "horovod.runner.common.util.network"
ADDRESSES_BYTES = 64 * 1024


class RefusedError(ValueError):
    """What was said is not believed."""


class Guard:
    """The addresses of the job's agents."""

    def __init__(self) -> None:
        self._peers: frozenset[str] = frozenset()

    def change(self, peers: Iterable[str]) -> None:
        """Take in whose agents have shown the token, and are still there."""
        self._peers = frozenset(peers)

    def lets_in(self, connection: socket.socket) -> bool:
        """Whether it comes from one of them, or from this very host, which has the leader's own ranks."""
        try:
            here, there = (_host(name) for name in (connection.getsockname(), connection.getpeername()))
        except OSError:
            return False  # it has gone
        return there == here or there in self._peers

    def protect(self, server: type[Any]) -> type[Any]:
        """Return a server class that hangs up on all others before it reads a byte."""
        guard = self

        class Protected(server):  # type: ignore[misc]
            request_queue_size = 1024  # all ranks come at once; the default is 5

            def verify_request(self, request: socket.socket, client_address: Any) -> bool:
                return guard.lets_in(request)

        return Protected


def _host(name: Any) -> str:
    return str(name[0]).removeprefix("::ffff:")


class _PlainUnpickler(pickle.Unpickler):
    """Knows no class and no function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain data")


class _RecordUnpickler(_PlainUnpickler):
    """Knows Horovod's records by their names, and makes something empty of each."""

    def find_class(self, module: str, name: str) -> Any:
        if module == RECORDS_MODULE and name in RECORDS:
            return type(name, (), {})
        return super().find_class(module, name)


def plain_data(pickled: bytes) -> Any:
    """Return what was pickled, if it is made of numbers, texts, bytes, tuples, lists and dicts alone.

    Raises
    ------
    RefusedError
    """
    return _unpickled(_PlainUnpickler, pickled)


class RecordPickle:
    """Stands for the module ``cloudpickle`` where Horovod's driver reads the answers of ranks."""

    def __init__(self, cloudpickle: Any) -> None:
        self.dumps = cloudpickle.dumps

    def loads(self, pickled: bytes) -> Any:
        """Return a record, or plain data."""
        return _unpickled(_RecordUnpickler, pickled)


def _unpickled(unpickler: type[pickle.Unpickler], pickled: bytes) -> Any:
    try:
        return unpickler(io.BytesIO(pickled)).load()
    except Exception as error:  # bad pickles raise whatever they like
        raise RefusedError(f"{type(error).__name__}: {error}") from None


def worker_addresses(value: bytes, sender: str) -> tuple[dict[str, list[tuple[str, int]]], bytes]:
    """Return the addresses of a rank's service that are the sender's own, by interface, and its key.

    Raises
    ------
    RefusedError
        There are none, or it is no such thing.
    """
    if len(value) > ADDRESSES_BYTES:
        raise RefusedError("too long for addresses")
    try:
        told, key = plain_data(base64.b64decode(value, validate=True))
        own = {str(name): _of(sender, addresses) for name, addresses in told.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise RefusedError(f"no addresses: {error}") from None
    own = {name: addresses for name, addresses in own.items() if addresses}
    if not own or not isinstance(key, bytes):
        raise RefusedError("no address of the sender's")
    return own, key


def _of(sender: str, addresses: Collection[Any]) -> list[tuple[str, int]]:
    return [(host, port) for host, port in addresses if host == sender and isinstance(port, int)]
