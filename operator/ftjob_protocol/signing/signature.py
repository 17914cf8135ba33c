"""How agents and operator show each other that they have the job's token, without ever sending it.

A request carries an HMAC-SHA256 (RFC 2104) over method, path with query, body, and three things that make it
unlike any other: the *nonce* of the receiver, the random name of the sender, and the number of the request.
The answer carries one over the request's, its status and its body. RFC 9421 does the same in general, with
the digest of the body (RFC 9530) in the header as here, so that a request is judged before its body is read;
RFC 7616 has the receiver's nonce.

* The receiver draws its nonce when it begins. What was recorded before that is signed for another one.
* It remembers the last number of each sender, and takes only greater ones. When it would have to remember too
  many senders it draws another nonce and forgets them all, so that nothing forgotten can be repeated.
* A sender asks for the nonce first, and again after a 401. That question is signed for no nonce. Whoever
  repeats it learns the nonce and no more, which helps only a holder of the token.
* A `Sender` has one request under way at a time. Who restarts, or has two, has two senders. Clocks play no
  part: those of two nodes may differ by hours.

Who sits between the two can hold a request back, or drop it, but not change it, repeat it, or answer it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import NamedTuple, Optional

from ftjob_protocol.values.digits import whole

NONCE = "/v1/nonce"
"""Where the receiver's nonce is asked for."""
REQUEST_HEADER = "Authorization"
ANSWER_HEADER = "FTJob-Signature"
SCHEME = "FTJob-HMAC-SHA256"
_NONCE_BYTES = 256
_BLOCK = 64


class SignatureError(ValueError):
    """An answer that no holder of the token has given to this request."""


class Signature(NamedTuple):
    """The signature of one request."""

    sender: str
    number: int
    digest: str
    """SHA-256 of the body."""
    mac: str
    """What the answer is bound to."""

    def header(self) -> str:
        """Return the value of `REQUEST_HEADER`."""
        return f"{SCHEME} {self.sender} {self.number} {self.digest} {self.mac}"

    def covers(self, body: bytes) -> bool:
        """Whether the body is the one that was signed."""
        return hmac.compare_digest(_digest(body), self.digest)

    @classmethod
    def read(cls, header: str) -> Optional[Signature]:
        """Read a header's value; None if it is no signature."""
        words = header.split(" ")
        if len(words) != 5 or words[0] != SCHEME or len(words[1]) > 64 or not header.isascii():
            return None
        number = whole(words[2], 18)
        return None if number is None else cls(words[1], number, words[3], words[4])


class _Key:
    """HMAC-SHA256 with the blocks of the key hashed in advance (RFC 2104, section 4), in half of the time."""

    def __init__(self, token: str) -> None:
        key = token.encode()
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def mac(self, said: bytes) -> str:
        """Return the code of a text, in hex."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(said)
        outer.update(inner.digest())
        return outer.hexdigest()

    def of_request(self, nonce: str, request: Signature, method: str, target: str) -> str:
        """Return what a request shows."""
        # Only method and target have no fixed form, and neither has a line's end in it.
        said = f"request\n{nonce}\n{request.sender}\n{request.number}\n{request.digest}\n{method}\n{target}"
        return self.mac(said.encode())

    def of_answer(self, request: Signature, status: int, body: bytes) -> str:
        """Return what the answer to a request shows."""
        return self.mac(f"answer\n{request.mac}\n{status}\n".encode() + body)


class Sender:
    """Signs requests to one receiver, one after the other, and checks the answers."""

    def __init__(self, token: str) -> None:
        self._key = _Key(token)
        self._name = secrets.token_hex(16)
        self._number = 0
        self.nonce = ""
        """The receiver's; empty until it is known, and when it is not valid any more."""

    def sign(self, method: str, target: str, body: bytes = b"") -> Signature:
        """Sign the next request.

        Parameters
        ----------
        target
            The path and the query, exactly as they are sent.
        """
        self._number += 1
        unsigned = Signature(self._name, self._number, _digest(body), "")
        nonce = "" if target == NONCE else self.nonce
        return unsigned._replace(mac=self._key.of_request(nonce, unsigned, method, target))

    def check(self, request: Signature, status: int, body: bytes, shown: Optional[str]) -> None:
        """Make sure that the answer is one to this request; if not, the nonce is to be asked for anew.

        Raises
        ------
        SignatureError
        """
        mac = self._key.of_answer(request, status, body)
        if hmac.compare_digest((shown or "").encode("utf-8", "replace"), mac.encode()):
            return
        self.nonce = ""
        if status == 401:
            raise SignatureError("it answered 401: it has begun anew, or has another token")
        raise SignatureError(f"its answer ({status}) is not signed with the job's token")

    def welcome(self, status: int, body: bytes) -> None:
        """Take in the checked answer to the question for the nonce.

        Raises
        ------
        SignatureError
        """
        try:
            nonce = json.loads(body[:_NONCE_BYTES])["nonce"]
        except (ValueError, LookupError, TypeError, RecursionError):
            nonce = None
        if status != 200 or not isinstance(nonce, str) or not nonce:
            raise SignatureError(f"it answered {status} when it was asked for its nonce")
        self.nonce = nonce


class Receiver:
    """Judges requests, and signs the answers.

    Parameters
    ----------
    senders
        So many are remembered before all are forgotten.
    """

    def __init__(self, token: str, senders: int) -> None:
        self._key = _Key(token)
        self._limit = senders
        self._last: dict[str, int] = {}
        self.nonce = secrets.token_hex(16)

    def accept(self, method: str, target: str, header: str) -> Optional[Signature]:
        """Return the signature if a holder of the token has made the request, for now and for the first time.

        A question for `NONCE` may be a repetition: whoever has heard it can repeat it.
        """
        shown = Signature.read(header)
        if shown is None:
            return None
        nonce = "" if target == NONCE else self.nonce
        if not hmac.compare_digest(self._key.of_request(nonce, shown, method, target), shown.mac):
            return None
        return shown if target == NONCE or self._is_first(shown) else None

    def sign(self, request: Signature, status: int, body: bytes) -> str:
        """Return the value of `ANSWER_HEADER`."""
        return self._key.of_answer(request, status, body)

    def welcome(self) -> dict[str, str]:
        """Return the answer to the question for the nonce."""
        return {"nonce": self.nonce}

    def _is_first(self, shown: Signature) -> bool:
        if shown.number <= self._last.get(shown.sender, 0):
            return False
        if shown.sender not in self._last and len(self._last) >= self._limit:
            self._last.clear()
            self.nonce = secrets.token_hex(16)
            return False
        self._last[shown.sender] = shown.number
        return True


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
