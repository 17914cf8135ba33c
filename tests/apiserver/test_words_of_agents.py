"""The API servers take the status that follows from what agents say, and drop nothing of it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpus import examples, saved, to_save
from support.jobs import JOBS, job
from support.words import ANSWERS, MESSAGES, PROFILED, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.apiserver import Answer, ApiServer

NAME = "words"


@pytest.fixture(scope="module")
def patched(server: ApiServer) -> Iterator[Callable[[dict[str, Any]], Answer]]:
    """Return what tries a status on a job of the API server."""
    with server.client() as client:
        body = job(NAME) | {"spec": copy.deepcopy(PROFILED.spec)}
        assert client.send("POST", JOBS, body).code == 201

        def patch(status: dict[str, Any]) -> Answer:
            return client.send(
                "PATCH",
                f"{JOBS}/{NAME}/status",
                {"status": status},
                content_type="application/merge-patch+json",
                fieldValidation="Strict",
                dryRun="All",
            )

        yield patch
        client.send("DELETE", f"{JOBS}/{NAME}")


@settings(max_examples=examples(0.25))
@given(ANSWERS, st.tuples(MESSAGES, MESSAGES))
@saved("words")
def test_an_api_server_takes_the_status_whatever_agents_say(
    patched: Callable[[dict[str, Any]], Answer], answer: Any, messages: tuple[str, str]
) -> None:
    to_save("words", answer, messages)
    status = json.loads(json.dumps(status_of(answer, messages).to_wire()))
    taken = patched(status)
    assert taken.code == 200, taken.message
    assert taken.body["status"] == status
