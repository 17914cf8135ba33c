"""The operator may do what it needs and nothing else, and the documentation says the same."""

from __future__ import annotations

import re

import pytest
from support.chart import REPO, Grant, Object, granted, pick, render

from ftjob.control.process import agent_key, lease

JOBS = {
    ("ftjob.dev", "frameworktrainingjobs"): "get list watch delete",
    ("ftjob.dev", "frameworktrainingjobs/status"): "patch",
    ("", "pods"): "get list watch create delete",
    ("", "services"): "get list watch create",
    ("", "configmaps"): "create",
    ("", "secrets"): "create",
    ("", "persistentvolumeclaims"): "get create",
    ("scheduling.k8s.io", "podgroups"): "get list watch create delete",
    ("scheduling.volcano.sh", "podgroups"): "get list watch create delete",
    ("scheduling.x-k8s.io", "podgroups"): "get list watch create delete",
    ("kueue.x-k8s.io", "workloads"): "get list watch create patch delete",
    ("kueue.x-k8s.io", "workloads/status"): "patch",
    ("events.k8s.io", "events"): "create",
}
NEEDED = frozenset(
    Grant(group, kind, verb) for (group, kind), verbs in JOBS.items() for verb in verbs.split()
)
POLICIES = frozenset(
    Grant("networking.k8s.io", "networkpolicies", verb) for verb in ("get", "list", "watch", "create")
)
CLUSTER_WIDE = frozenset(
    {
        Grant("kueue.x-k8s.io", "resourceflavors", "get"),
        Grant("kueue.x-k8s.io", "workloadpriorityclasses", "get"),
        Grant("scheduling.k8s.io", "priorityclasses", "get"),
    }
)
OWN = frozenset(
    {
        Grant("coordination.k8s.io", "leases", "get", lease.NAME),
        Grant("coordination.k8s.io", "leases", "update", lease.NAME),
        Grant("coordination.k8s.io", "leases", "create"),
        Grant("", "secrets", "get", agent_key.NAME),
        Grant("", "secrets", "create"),
    }
)
TWO_NAMESPACES = "watchNamespaces={team-a,team-b}"


def place(found: Object) -> tuple[str, str, str]:
    return found["kind"], found["metadata"]["name"], found["metadata"].get("namespace", "")


def roles(objects: list[Object], home: str = "ftjob-system") -> dict[tuple[str, str], frozenset[Grant]]:
    """Return kind and namespace of each role that is bound to the operator, and what it grants."""
    by_place = {place(each): each for each in objects}
    found: dict[tuple[str, str], frozenset[Grant]] = {}
    for binding in objects:
        if binding["kind"] in {"ClusterRoleBinding", "RoleBinding"}:
            (subject,) = binding["subjects"]
            assert (subject["name"], subject["namespace"]) == ("ftjob-operator", home)
            namespace = binding["metadata"].get("namespace", "")
            role = by_place[binding["roleRef"]["kind"], binding["roleRef"]["name"], namespace]
            found.setdefault((role["kind"], namespace), frozenset())
            found[role["kind"], namespace] |= granted(role)
    return found


def test_cluster_wide_the_operator_gets_what_it_needs_and_no_more() -> None:
    assert roles(render()) == {("ClusterRole", ""): NEEDED | CLUSTER_WIDE, ("Role", "ftjob-system"): OWN}


def test_in_some_namespaces_the_same_rights_end_at_their_borders() -> None:
    assert roles(render(TWO_NAMESPACES)) == {
        ("Role", "team-a"): NEEDED,
        ("Role", "team-b"): NEEDED,
        ("ClusterRole", ""): CLUSTER_WIDE,
        ("Role", "ftjob-system"): OWN,
    }


def test_what_has_no_namespace_can_be_left_out() -> None:
    kinds = {kind for kind, _ in roles(render(TWO_NAMESPACES, "rbac.clusterRole=false"))}
    assert kinds == {"Role"}


def test_releases_of_one_name_in_two_namespaces_do_not_meet_in_their_cluster_roles() -> None:
    first, second = (
        {place(each) for each in render(f"watchNamespaces={{{home}}}", namespace=home) if not place(each)[2]}
        for home in ("team-a", "team-b")
    )
    assert first
    assert not first & second


def test_only_where_it_makes_network_policies_may_it_do_so() -> None:
    assert roles(render("networkPolicy=Job"))["ClusterRole", ""] == NEEDED | CLUSTER_WIDE | POLICIES
    assert roles(render(TWO_NAMESPACES, "networkPolicy=Job"))["Role", "team-b"] == NEEDED | POLICIES


def test_watching_its_own_namespace_it_needs_two_roles_there() -> None:
    found = roles(render("watchNamespaces={team-a}", namespace="team-a"), home="team-a")
    assert found["Role", "team-a"] == NEEDED | OWN


def test_no_rule_has_a_wildcard() -> None:
    for each in render() + render(TWO_NAMESPACES, "networkPolicy=Job"):
        for rule in each.get("rules", []):
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]


def test_roles_can_be_left_to_someone_else() -> None:
    kinds = {each["kind"] for each in render("rbac.create=false")}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


@pytest.mark.parametrize(("name", "aggregated"), [("edit", {"edit", "admin"}), ("view", {"view"})])
def test_who_may_edit_or_view_a_namespace_may_do_so_with_its_jobs(name: str, aggregated: set[str]) -> None:
    role = pick(render(), "ClusterRole", f"ftjob-{name}")
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    labels = role["metadata"]["labels"]
    assert {key.removeprefix(prefix) for key in labels if key.startswith(prefix)} == aggregated
    writes = {grant.verb for grant in granted(role)} - {"get", "list", "watch"}
    assert bool(writes) == (name == "edit")
    assert {grant.group for grant in granted(role)} == {"ftjob.dev"}
    assert Grant("ftjob.dev", "frameworktrainingjobs/status", "patch") not in granted(role)


def test_in_some_namespaces_the_roles_for_people_are_there_to_be_bound() -> None:
    found = {place(each) for each in render(TWO_NAMESPACES)}
    for name in ("ftjob-edit", "ftjob-view"):
        assert {("Role", name, "team-a"), ("Role", name, "team-b")} <= found
        assert ("ClusterRole", name, "") not in found


ROW = re.compile(
    r"^\| `(?P<group>[a-z0-9.-]+)` \| `(?P<resource>[a-z/]+)`(?: `(?P<name>[a-z-]+)`)? "
    r"\| (?P<verbs>[a-z, ]+) \|"
)


def test_the_documentation_explains_each_right() -> None:
    lines = (REPO / "docs" / "install.md").read_text().splitlines()
    explained = {
        Grant(row["group"].replace("core", ""), row["resource"], verb.strip(), row["name"] or "")
        for row in map(ROW.match, lines)
        if row
        for verb in row["verbs"].split(",")
    }
    assert explained == NEEDED | CLUSTER_WIDE | OWN | POLICIES
