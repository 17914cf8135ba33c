"""What the chart renders in each of its modes."""

from __future__ import annotations

import json

import pytest
from support.chart import CHART, ChartError, Object, objects_in, pick, render, run_helm

CLUSTER_SCOPED = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
ONE_NAMESPACE = ("watchNamespaces={team-a}", "rbac.clusterRole=false")


def names(objects: list[Object], kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in objects if each["kind"] == kind}


def operator(*settings: str) -> Object:
    return pick(render(*settings), "Deployment", "ftjob-operator")


def container(*settings: str) -> Object:
    containers: list[Object] = operator(*settings)["spec"]["template"]["spec"]["containers"]
    assert len(containers) == 1
    return containers[0]


def test_the_chart_passes_the_linter() -> None:
    run_helm("lint", "--strict", "--quiet", str(CHART))


@pytest.mark.parametrize("settings", [(), ONE_NAMESPACE], ids=["cluster", "namespace"])
def test_every_namespaced_object_names_its_namespace(settings: tuple[str, ...]) -> None:
    more = ("metrics.serviceMonitor.enabled=true", "metrics.dashboard.enabled=true", "networkPolicy=Job")
    objects = render(*settings, *more, crds=True)
    for each in objects:
        assert ("namespace" in each["metadata"]) == (each["kind"] not in CLUSTER_SCOPED), each["metadata"]


def test_one_namespace_needs_nothing_cluster_wide_but_the_crd() -> None:
    objects = render(*ONE_NAMESPACE, crds=True)
    assert {each["kind"] for each in objects} & CLUSTER_SCOPED == {"CustomResourceDefinition"}
    assert {e["metadata"]["namespace"] for e in objects if e["kind"] == "Role"} == {"team-a", "ftjob-system"}


def test_the_operator_is_told_which_namespaces_it_serves() -> None:
    assert "--namespaces=team-a" in container(*ONE_NAMESPACE)["args"]
    assert "--namespaces=team-a,team-b" in container("watchNamespaces={team-a,team-b}")["args"]
    assert not [arg for arg in container()["args"] if arg.startswith("--namespaces")]


def test_the_operator_is_told_what_the_values_say() -> None:
    assert container()["command"] == ["python", "-m", "ftjob.control"]
    assert container()["args"] == [
        "--collector-image=ftjob/operator:0.1.0",
        "--collector-pull-policy=IfNotPresent",
        "--metrics-port=8080",
        "--health-port=8081",
        "--log-level=info",
        "--log-format=json",
        "--workers=16",
    ]
    changed = container(
        "outputs.defaultStorageClassName=shared",
        "leaderElection.enabled=false,metrics.port=9090,health.port=9091",
        "log.level=debug,log.format=text,workers=4,collector.enabled=false",
    )
    assert changed["args"] == [
        "--default-storage-class=shared",
        "--no-leader-election",
        "--metrics-port=9090",
        "--health-port=9091",
        "--log-level=debug",
        "--log-format=text",
        "--workers=4",
    ]
    assert {port["name"]: port["containerPort"] for port in changed["ports"]} == {
        "metrics": 9090,
        "health": 9091,
    }


def test_the_operator_knows_its_own_pod() -> None:
    env = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container()["env"]}
    assert env == {"POD_NAMESPACE": "metadata.namespace", "POD_NAME": "metadata.name"}


def test_the_operator_s_image_follows_the_chart_unless_a_tag_is_set() -> None:
    assert container()["image"] == "ftjob/operator:0.1.0"
    assert container("image.tag=dev,image.pullPolicy=Never")["image"] == "ftjob/operator:dev"


def test_the_operator_s_pod_passes_pod_security_restricted() -> None:
    pod = operator()["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert [volume for volume in pod["volumes"] if set(volume) != {"name", "emptyDir"}] == []
    for each in pod["containers"] + pod.get("initContainers", []):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not [port for port in each["ports"] if "hostPort" in port]


def test_openshift_may_choose_the_user() -> None:
    changed = operator("podSecurityContext.runAsUser=null,podSecurityContext.runAsGroup=null")
    assert changed["spec"]["template"]["spec"]["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}


def test_probes_ask_the_health_port() -> None:
    probed = container()
    paths = {kind: probed[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {
        "startup": {"path": "/healthz", "port": "health"},
        "liveness": {"path": "/healthz", "port": "health"},
        "readiness": {"path": "/readyz", "port": "health"},
    }


def test_with_election_the_new_operator_comes_first_without_it_the_old_one_goes_first() -> None:
    rolled = operator("replicas=2")["spec"]
    assert (rolled["replicas"], rolled["strategy"]["rollingUpdate"]["maxUnavailable"]) == (2, 0)
    assert operator("leaderElection.enabled=false")["spec"]["strategy"] == {"type": "Recreate"}


def test_the_operator_leaves_a_lost_node_before_its_jobs_do() -> None:
    borne = operator()["spec"]["template"]["spec"]["tolerations"]
    assert {(t["key"], t["tolerationSeconds"]) for t in borne} == {
        ("node.kubernetes.io/not-ready", 0),
        ("node.kubernetes.io/unreachable", 0),
    }


def test_placement_and_metadata_reach_the_pod() -> None:
    template = operator(
        "priorityClassName=system-cluster-critical",
        "nodeSelector.disk=ssd",
        "tolerations[0].operator=Exists",
        "affinity.nodeAffinity.x=y",
        "imagePullSecrets[0].name=pull",
        "podLabels.team=a,podAnnotations.note=b",
        "extraEnv[0].name=HTTPS_PROXY,extraEnv[0].value=http://proxy",
    )["spec"]["template"]
    pod = template["spec"]
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["affinity"] == {"nodeAffinity": {"x": "y"}}
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy"} in pod["containers"][0]["env"]
    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["annotations"] == {"note": "b"}


def test_the_metrics_service_selects_the_operator() -> None:
    objects = render("metrics.port=9090")
    service = pick(objects, "Service", "ftjob-operator-metrics")["spec"]
    deployment = pick(objects, "Deployment", "ftjob-operator")["spec"]
    assert service["ports"] == [{"name": "metrics", "port": 9090, "targetPort": "metrics"}]
    assert service["selector"] == deployment["selector"]["matchLabels"]
    assert service["selector"].items() <= deployment["template"]["metadata"]["labels"].items()


def test_a_service_monitor_comes_only_when_asked_for() -> None:
    assert names(render(), "ServiceMonitor") == set()
    objects = render("metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.release=prom")
    monitor = pick(objects, "ServiceMonitor", "ftjob-operator")
    assert monitor["metadata"]["labels"]["release"] == "prom"
    selected = pick(objects, "Service", "ftjob-operator-metrics")["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= selected.items()


def test_an_existing_service_account_is_used() -> None:
    objects = render("serviceAccount.create=false,serviceAccount.name=mine")
    assert names(objects, "ServiceAccount") == set()
    pod = pick(objects, "Deployment", "ftjob-operator")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "mine"
    bindings = [each for each in objects if each["kind"].endswith("Binding")]
    assert {each["subjects"][0]["name"] for each in bindings} == {"mine"}


def test_a_release_of_another_name_is_told_apart() -> None:
    text = run_helm("template", "blue", str(CHART), "--namespace", "x", "--set", "crds.enabled=false")
    for each in objects_in(text):
        assert each["metadata"]["name"].startswith("blue-ftjob"), each["metadata"]["name"]


@pytest.mark.parametrize(
    ("version", "accepted"), [("1.31.9", False), ("1.32.0", True), ("1.33.4-gke.100", True)]
)
def test_kubernetes_is_1_32_or_newer(version: str, accepted: bool) -> None:
    args = ("template", "ftjob", str(CHART), "--kube-version", version)
    if accepted:
        run_helm(*args)
    else:
        with pytest.raises(ChartError, match=r">=1\.32\.0"):
            run_helm(*args)


@pytest.mark.parametrize("settings", [(), ("crds.enabled=false",), ONE_NAMESPACE], ids=str)
def test_the_notes_say_how_to_go_on(settings: tuple[str, ...]) -> None:
    flags = [part for setting in settings for part in ("--set", setting)]
    text = run_helm("install", "ftjob", str(CHART), "--dry-run=client", "--namespace", "ftjob-system", *flags)
    notes = text.partition("NOTES:")[2]
    assert "rollout status deployment/ftjob-operator" in notes
    assert ("The CRD is not part" in notes) == ("crds.enabled=false" in settings)
    assert ("all namespaces" in notes) == (settings != ONE_NAMESPACE)


@pytest.mark.parametrize(
    "off", ["", "networkPolicy=Off", "networkPolicy=false"]
)  # YAML 1.1 reads Off as false
def test_without_being_asked_it_knows_no_network_policy(off: str) -> None:
    objects = render(*([off] if off else []))
    assert not names(objects, "NetworkPolicy")
    assert "networkpolicies" not in json.dumps(objects)
    assert "--network-policy" not in json.dumps(objects)


def test_the_operator_lets_in_who_asks_for_its_health_and_metrics_alone() -> None:
    objects = render("networkPolicy=Job,metrics.port=9090,health.port=9091,podLabels.team=ml")
    policy = pick(objects, "NetworkPolicy", "ftjob-operator")["spec"]
    pod = pick(objects, "Deployment", "ftjob-operator")["spec"]["template"]["metadata"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["labels"].items()
    assert policy["policyTypes"] == ["Ingress"]
    (rule,) = policy["ingress"]
    assert rule == {"ports": [{"protocol": "TCP", "port": port} for port in (9090, 9091)]}
