"""The operator's program understands what the chart tells it."""

from __future__ import annotations

from support.chart import pick, render

from ftjob.control.__main__ import parse


def arguments(*settings: str) -> list[str]:
    pod = pick(render(*settings), "Deployment", "ftjob-operator")["spec"]["template"]["spec"]
    return [str(each) for each in pod["containers"][0]["args"]]


def selector_of_the_operator() -> dict[str, str]:
    labels: dict[str, str] = pick(render(), "Deployment", "ftjob-operator")["spec"]["selector"]["matchLabels"]
    return labels


def test_the_operator_understands_its_arguments() -> None:
    options = parse(
        arguments("watchNamespaces={team-a,team-b}", "outputs.defaultStorageClassName=shared", "workers=4")
    )
    assert options.namespaces == ("team-a", "team-b")
    assert (options.default_storage_class, options.workers) == ("shared", 4)
    assert (options.metrics_port, options.health_port) == (8080, 8081)
    assert not options.no_leader_election
    assert not options.network_policy_from
    assert parse(arguments("networkPolicy=Job")).network_policy_from == selector_of_the_operator()
    assert parse(arguments("leaderElection.enabled=false")).no_leader_election
