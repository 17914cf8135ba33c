"""The operator as it is installed: its own service account and nothing more than the manifests grant."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.apiserver import NEWEST, ApiServer, Client
from support.chart import pick, render
from support.control_cluster import Namespace, new_namespace, running_kubelet, running_operator, watch

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

INSTALL = Path(__file__).parents[2] / "manifests" / "install"
KINDS = {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
POLICIES = "networkpolicies.networking.k8s.io"

Manifest = dict[str, Any]


@contextmanager
def installed(server: ApiServer, client: Client, every: list[Manifest], folder: Path) -> Iterator[Path]:
    """Have the operator's account and its roles in the cluster; yield a kubeconfig of that account."""
    objects = [each for each in every if each["kind"] in KINDS]
    account = pick(objects, "ServiceAccount", "ftjob-operator")["metadata"]
    applied = server.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in objects))
    assert applied.returncode == 0, applied.stderr
    try:
        path = f"/api/v1/namespaces/{account['namespace']}/serviceaccounts/{account['name']}/token"
        token = client.send(
            "POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        ).body["status"]["token"]
        kubeconfig = folder / "kubeconfig"
        config = json.loads(server.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        kubeconfig.write_text(json.dumps(config))
        yield kubeconfig
    finally:
        kept = [o for o in objects if o["kind"] != "Namespace"]
        server.kubectl("delete", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in kept))


def refused(asked: dict[tuple[str, str, str], int]) -> list[tuple[str, str, str]]:
    return [key for key in asked if key[2] in {"401", "403"}]


@pytest.mark.parametrize("scope", ["ftjob.yaml", "ftjob-namespaced.yaml"])
def test_nothing_that_the_operator_asks_for_is_forbidden(
    server: ApiServer, client: Client, tmp_path: Path, scope: str
) -> None:
    served = new_namespace(client).name
    text = (INSTALL / scope).read_text().replace("ftjob-team", served)  # as its first lines say
    objects = [each for each in yaml.safe_load_all(text) if each]
    space = Namespace(client, served)
    name = "digits"
    with (
        installed(server, client, objects, tmp_path) as kubeconfig,
        running_kubelet(server, served) as kubelet,
        running_operator(
            server,
            tmp_path,
            namespace=served,
            home=pick(objects, "ServiceAccount", "ftjob-operator")["metadata"]["namespace"],
            kubeconfig=kubeconfig,
            cluster_wide=scope == "ftjob.yaml",
        ) as operator,
    ):
        space.submit(name, outputs={"size": "1Gi"})
        space.await_pods(name)
        kubelet.finish()
        space.await_phase("Succeeded", name)
        asked = operator.requests()
    assert refused(asked) == []
    assert {key[:2] for key in asked} >= {("create", "persistentvolumeclaims"), ("create", "events")}


def arguments(objects: list[Manifest], flag: str) -> list[str]:
    pod = pick(objects, "Deployment", "ftjob-operator")["spec"]["template"]["spec"]
    return [arg for arg in pod["containers"][0]["args"] if arg.startswith(flag)]


def test_with_roles_in_two_namespaces_it_serves_these_and_never_touches_a_third(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    first, second, third, home = (new_namespace(client) for _ in range(4))
    served = (first, second)
    objects = render(f"watchNamespaces={{{first.name},{second.name}}}", namespace=home.name)
    with ExitStack() as stack:
        kubeconfig = stack.enter_context(installed(server, client, objects, tmp_path))
        kubelets = [stack.enter_context(running_kubelet(server, space.name)) for space in served]
        third.submit()  # it is there before the others: were it seen, it would be served first
        operator = stack.enter_context(
            running_operator(
                server,
                tmp_path,
                namespace=f"{first.name},{second.name}",
                home=home.name,
                kubeconfig=kubeconfig,
            )
        )
        for space in served:
            space.submit()
        for space, kubelet in zip(served, kubelets, strict=True):
            space.await_pods()
            kubelet.finish()
            space.await_phase("Succeeded")
        asked, log = operator.requests(), operator.log.read_text()
    assert refused(asked) == []
    assert "403" not in log  # nor what kopf asks for
    assert "status" not in third.job()
    assert third.pods() == {}


def test_a_namespace_whose_role_was_deleted_waits_alone_and_is_served_when_it_is_back(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    first, second, home = (new_namespace(client) for _ in range(3))
    objects = render(f"watchNamespaces={{{first.name},{second.name}}}", namespace=home.name)
    deleted = next(
        each
        for each in objects
        if each["kind"] == "RoleBinding" and each["metadata"]["namespace"] == second.name
    )
    kept = [each for each in objects if each is not deleted]
    with (
        installed(server, client, kept, tmp_path) as kubeconfig,
        running_kubelet(server, first.name),
        running_kubelet(server, second.name),
        running_operator(
            server,
            tmp_path,
            namespace=f"{first.name},{second.name}",
            home=home.name,
            kubeconfig=kubeconfig,
        ),
    ):
        second.submit()
        first.submit()
        first.await_pods()
        assert "status" not in second.job()
        back = server.kubectl("apply", "-f", "-", stdin=json.dumps(deleted))
        assert back.returncode == 0, back.stderr
        second.await_pods()


def test_a_job_s_network_policy_comes_first_and_comes_back(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    served, home = new_namespace(client), new_namespace(client)
    objects = render(f"watchNamespaces={{{served.name}}}", "networkPolicy=Job", namespace=home.name)
    with (
        installed(server, client, objects, tmp_path) as kubeconfig,
        running_kubelet(server, served.name),
        running_operator(
            server,
            tmp_path,
            *arguments(objects, "--network-policy-from"),
            namespace=served.name,
            home=home.name,
            kubeconfig=kubeconfig,
        ) as operator,
    ):
        uid = served.submit()["metadata"]["uid"]
        served.await_pods()
        (policy,) = served.list(POLICIES)
        assert policy["metadata"]["ownerReferences"][0]["uid"] == uid
        assert policy["spec"]["podSelector"]["matchLabels"] == {"ftjob.dev/uid": uid}
        first_pod = min(int(pod["metadata"]["resourceVersion"]) for pod in served.pods().values())
        assert int(policy["metadata"]["resourceVersion"]) < first_pod
        served.delete(POLICIES, policy["metadata"]["name"])
        news = (
            found
            for kind, found in watch(served, POLICIES)
            if kind == "ADDED" and found["metadata"]["uid"] != policy["metadata"]["uid"]
        )
        assert next(news)["spec"] == policy["spec"]
        assert refused(operator.requests()) == []


def test_a_stranger_s_policy_of_that_name_is_left_alone_and_named(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    served = new_namespace(client)
    with running_operator(server, tmp_path, "--network-policy-from=app=ftjob", namespace=served.name):
        uid = served.submit(suspend=True)["metadata"]["uid"]
        name = f"digits-{uid[:8]}"
        spec = {"podSelector": {"matchLabels": {"app": "x"}}}
        theirs = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}}
        served.create(POLICIES, {**theirs, "spec": spec})
        served.patch("frameworktrainingjobs", "digits", {"spec": {"suspend": False}})
        job = served.await_phase("Failed")
    reasons = {condition["type"]: condition for condition in job["status"]["conditions"]}
    assert reasons["Failed"]["reason"] == "NameConflict"
    assert f"NetworkPolicy {name} exists and does not belong to this job" in reasons["Failed"]["message"]
    assert served.get(POLICIES, name)["spec"]["podSelector"] == spec["podSelector"]
