"""The operator's command line, beside what the chart makes of it (tests/chart/test_arguments.py)."""

from __future__ import annotations

import pytest

from ftjob.control.__main__ import parse


def test_labels_of_the_operator_s_pods_are_pairs() -> None:
    options = parse(["--network-policy-from=app.kubernetes.io/name=ftjob,tier=control"])
    assert options.network_policy_from == {"app.kubernetes.io/name": "ftjob", "tier": "control"}


def test_without_them_jobs_get_no_policy() -> None:
    assert parse([]).network_policy_from == {}


@pytest.mark.parametrize("wrong", ["Job", "app=", "=x", "app=x,y"])
def test_what_is_no_label_is_refused_since_a_selector_without_it_would_let_in_everyone(
    wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse([f"--network-policy-from={wrong}"])
    assert "write KEY=VALUE,KEY=VALUE" in capsys.readouterr().err


def test_namespaces_are_a_list() -> None:
    assert parse([]).namespaces == ()
    assert parse(["--namespaces=a"]).namespaces == ("a",)
    assert parse(["--namespaces=a, b,a,"]).namespaces == ("a", "b")


@pytest.mark.parametrize("wrong", ["team-*", "a b", "Team", "-a"])
def test_a_pattern_is_no_namespace(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([f"--namespaces={wrong}"])
    assert f"{wrong!r} is no name of a namespace" in capsys.readouterr().err
