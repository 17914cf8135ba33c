"""``summary.json``: its schema, and what its reader refuses."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from ftjob.insight import summary
from ftjob.insight.summary import Job, Summary, SummaryError, Verdict, Window, decode, encode

SCHEMA = Path(summary.__file__).with_name("summary.schema.json")


def least(**changes: object) -> bytes:
    whole = Summary(
        schema="ftjob.dev/summary",
        version=1,
        job=Job(name="digits"),
        capture=None,
        window=Window(steps=[], blocks=0, excluded={}),
        step_ms=None,
        ranks=[],
        collectives=[],
        findings=[],
        verdict=Verdict(text="", findings=[], seen={}),
    )
    return json.dumps({**json.loads(encode(whole)), **changes}).encode()


def test_what_is_written_can_be_read() -> None:
    assert encode(decode(least(), "x")) == encode(decode(encode(decode(least(), "x")), "x"))


def test_the_committed_schema_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == summary.json_schema(), "run: make generate"


def test_the_schema_accepts_what_is_written_and_no_other_field() -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(json.loads(least()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(least(surprise=1)), schema)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{", "no summary of ftjob"),
        (b"[]", "no summary of ftjob"),
        (b"\xff\xfe", "no summary of ftjob"),
        (b"[" * 100_000, "no summary of ftjob"),
        (b"{}", "its schema is not ftjob.dev/summary"),
        (least(schema="another"), "its schema is not"),
        (least(version=7), "it has version 7"),
        (least(surprise=1), "surprise"),
        (least(ranks=[{"rank": "two"}]), "ranks"),
    ],
)
def test_a_file_that_is_no_summary_is_refused_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(SummaryError, match=words) as error:
        decode(data, "old.json")
    assert str(error.value).startswith("old.json: ")
