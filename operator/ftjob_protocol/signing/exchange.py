"""Signed requests by a connection of ``http.client``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob_protocol.signing.signature import (
    ANSWER_HEADER,
    NONCE,
    REQUEST_HEADER,
    Sender,
    Signature,
    SignatureError,
)

if TYPE_CHECKING:
    import http.client

ANSWER_BYTES = 1 << 20


def exchange(
    connection: http.client.HTTPConnection, sender: Sender, method: str, target: str, body: bytes = b""
) -> tuple[int, bytes]:
    """Send a request and return status and body of its answer, by a connection that is not in use.

    Raises
    ------
    SignatureError
        Also when the token is refused.
    """
    if sender.nonce:
        try:
            return receive(connection, sender, send(connection, sender, method, target, body))
        except SignatureError:
            pass  # it has begun anew since
    greet(connection, sender)
    return receive(connection, sender, send(connection, sender, method, target, body))


def greet(connection: http.client.HTTPConnection, sender: Sender) -> None:
    """Ask for the receiver's nonce unless it is known.

    Raises
    ------
    SignatureError
    """
    if not sender.nonce:
        sender.welcome(*receive(connection, sender, send(connection, sender, "GET", NONCE)))


def send(
    connection: http.client.HTTPConnection, sender: Sender, method: str, target: str, body: bytes = b""
) -> Signature:
    """Send a request, and return what `receive` checks the answer by."""
    request = sender.sign(method, target, body)
    headers = {REQUEST_HEADER: request.header(), "Content-Type": "application/json"}
    connection.request(method, target, body or None, headers)
    return request


def receive(connection: http.client.HTTPConnection, sender: Sender, request: Signature) -> tuple[int, bytes]:
    """Return status and body of the answer to a request that was sent.

    Raises
    ------
    SignatureError
    """
    response = connection.getresponse()
    data = response.read(ANSWER_BYTES)
    if response.status == 401 or not response.isclosed():
        connection.close()  # another request can't follow on it
    sender.check(request, response.status, data, response.getheader(ANSWER_HEADER))
    return response.status, data
