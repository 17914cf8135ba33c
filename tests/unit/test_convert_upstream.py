"""What becomes of other projects' examples; the table in docs/migration.md says it of each."""

from __future__ import annotations

from pathlib import Path

from support.upstream import AS_IT_IS, NEEDS_EXAMPLES, REFUSED, WITH_COMMAND, counts, outcomes, table

DOCS = Path(__file__).parents[2] / "docs" / "migration.md"

pytestmark = NEEDS_EXAMPLES


def test_most_jobs_convert_and_are_valid_if_their_command_is_given() -> None:
    found = counts()
    assert len(outcomes()) == 65
    assert found[AS_IT_IS] >= 35
    assert found[AS_IT_IS] + found[WITH_COMMAND] >= 44, found


def test_docs_tell_the_outcome_of_each_job() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("|") and "--" not in line[:9]]
    missing = [row for row in table() if row not in DOCS.read_text().splitlines()]
    assert not missing, "write into docs/migration.md:\n" + "\n".join(table())
    assert sum(f"| {how} |" in row for row in rows for how in (AS_IT_IS, WITH_COMMAND, REFUSED)) == 65


def test_each_refusal_says_why() -> None:
    assert all(one.reason for one in outcomes() if one.converted is None)


def test_nothing_is_dropped_but_what_a_rule_names() -> None:
    """A field that no rule knows would be a gap of the rules; these are known to have no counterpart."""
    known = {"restartStrategy"}
    unknown = {
        str(note)
        for one in outcomes()
        if one.converted is not None
        for note in one.converted.notes
        if "ftjob has nothing like it" in str(note)
    }
    assert {text.partition(": ftjob")[0].rpartition(".")[2] for text in unknown} <= known, unknown
