"""What a signature lets through, and what it does not."""

from __future__ import annotations

import hmac
from typing import Any

import pytest

from ftjob_protocol.signing.signature import NONCE, Receiver, Sender, Signature, SignatureError

TOKEN = "the job's"
ORDER = ("POST", "/v1/start", b'{"attempt": 1}')


def met(receiver: Receiver, token: str = TOKEN) -> Sender:
    """Return a sender that knows the receiver's nonce."""
    sender = Sender(token)
    sender.nonce = receiver.nonce
    return sender


def takes(receiver: Receiver, signed: Signature, method: str = "POST", target: str = "/v1/start") -> bool:
    return receiver.accept(method, target, signed.header()) is not None


@pytest.fixture
def receiver() -> Receiver:
    return Receiver(TOKEN, senders=4)


@pytest.mark.parametrize("token", [TOKEN, "t" * 64, "t" * 65, "é" * 100])
def test_the_codes_are_those_of_hmac_sha256(token: str) -> None:
    sender = Sender(token)
    sender.nonce = "n"
    signed = sender.sign(*ORDER)
    said = f"request\nn\n{signed.sender}\n1\n{signed.digest}\nPOST\n/v1/start".encode()
    assert signed.mac == hmac.new(token.encode(), said, "sha256").hexdigest()
    answer = Receiver(token, 1).sign(signed, 200, b"{}")
    assert (
        answer == hmac.new(token.encode(), f"answer\n{signed.mac}\n200\n{{}}".encode(), "sha256").hexdigest()
    )


def test_a_request_is_taken_once_and_shows_nothing_of_the_token(receiver: Receiver) -> None:
    signed = met(receiver).sign(*ORDER)
    assert TOKEN not in signed.header()
    assert takes(receiver, signed)
    assert signed.covers(ORDER[2])
    assert not takes(receiver, signed)


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/v1/start"), ("POST", "/v1/end"), ("POST", "/v1/start?wait=1")]
)
def test_a_signature_is_of_one_method_and_one_path(receiver: Receiver, method: str, target: str) -> None:
    assert not takes(receiver, met(receiver).sign(*ORDER), method, target)


@pytest.mark.parametrize(
    "change", [{"sender": "ff" * 16}, {"number": 9}, {"digest": "0" * 64}, {"mac": "0" * 64}], ids=str
)
def test_no_part_of_a_signature_can_be_changed(receiver: Receiver, change: dict[str, Any]) -> None:
    signed = met(receiver).sign(*ORDER)
    assert not takes(receiver, signed._replace(**change))
    assert takes(receiver, signed)


def test_another_body_is_not_covered(receiver: Receiver) -> None:
    assert not met(receiver).sign(*ORDER).covers(b'{"attempt": 2}')


def test_another_token_or_none_is_refused(receiver: Receiver) -> None:
    assert not takes(receiver, met(receiver, "another job's").sign(*ORDER))
    for header in (
        "",
        "Bearer x",
        "FTJob-HMAC-SHA256",
        "FTJob-HMAC-SHA256 a b c d",
        "FTJob-HMAC-SHA256 a ² c d",
    ):
        assert receiver.accept("POST", "/v1/start", header) is None


def test_of_one_sender_an_earlier_request_is_refused_after_a_later_one(receiver: Receiver) -> None:
    sender = met(receiver)
    early, late = sender.sign(*ORDER), sender.sign(*ORDER)
    assert takes(receiver, late)
    assert not takes(receiver, early)


def test_two_senders_do_not_disturb_each_other(receiver: Receiver) -> None:
    one, other = met(receiver), met(receiver)
    held = one.sign("GET", "/v1/progress?wait=10")
    assert takes(receiver, other.sign(*ORDER))
    assert takes(receiver, held, "GET", "/v1/progress?wait=10")


def test_what_a_receiver_has_taken_is_refused_by_the_one_that_follows_it(receiver: Receiver) -> None:
    sender = met(receiver)
    recorded = [sender.sign(*ORDER) for _ in range(3)]
    following = Receiver(TOKEN, senders=4)
    assert not any(takes(following, signed) for signed in recorded)


def test_a_receiver_remembers_a_bounded_number_and_takes_nothing_that_it_has_forgotten(
    receiver: Receiver,
) -> None:
    recorded = [met(receiver).sign(*ORDER) for _ in range(4)]
    assert all(takes(receiver, signed) for signed in recorded)
    before = receiver.nonce
    assert not takes(receiver, met(receiver).sign(*ORDER))
    assert receiver.nonce != before
    assert not any(takes(receiver, signed) for signed in recorded)
    assert takes(receiver, met(receiver).sign(*ORDER))


def test_the_nonce_is_told_to_holders_of_the_token_alone(receiver: Receiver) -> None:
    sender = Sender(TOKEN)
    asked = sender.sign("GET", NONCE)
    assert takes(receiver, asked, "GET", NONCE)
    answer = f'{{"nonce": "{receiver.welcome()["nonce"]}"}}'.encode()
    sender.check(asked, 200, answer, receiver.sign(asked, 200, answer))
    sender.welcome(200, answer)
    assert takes(receiver, sender.sign(*ORDER))
    assert not takes(receiver, Sender("another job's").sign("GET", NONCE), "GET", NONCE)


def test_an_answer_is_bound_to_its_request_its_status_and_its_body(receiver: Receiver) -> None:
    sender = met(receiver)
    request, other = sender.sign(*ORDER), sender.sign(*ORDER)
    shown = receiver.sign(request, 200, b"{}")
    sender.check(request, 200, b"{}", shown)
    for wrong in (
        (other, 200, b"{}", shown),
        (request, 409, b"{}", shown),
        (request, 200, b"[]", shown),
        (request, 200, b"{}", None),
        (request, 200, b"{}", "é"),
        (request, 200, b"{}", request.mac),
        (request, 200, b"{}", Receiver("another job's", 1).sign(request, 200, b"{}")),
    ):
        with pytest.raises(SignatureError):
            sender.check(*wrong)
    assert not sender.nonce  # it asks anew, which costs nothing where somebody else has answered


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"nonce": 1}', b'{"nonce": ""}', b'{"nonce": "' + b"x" * 10_000 + b'"}']
)
def test_a_nonce_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(SignatureError):
        Sender(TOKEN).welcome(200, body)
