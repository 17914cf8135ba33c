"""The operator as it is installed: its own service account and nothing more than the manifests grant."""

import json
from pathlib import Path

import pytest
import yaml
from support.apiserver import NEWEST, ApiServer, Client
from support.control_cluster import Namespace, new_namespace, running_kubelet, running_operator

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

INSTALL = Path(__file__).parents[2] / "manifests" / "install"
KINDS = {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


@pytest.mark.parametrize("scope", ["ftjob.yaml", "ftjob-namespaced.yaml"])
def test_nothing_that_the_operator_asks_for_is_forbidden(
    server: ApiServer, client: Client, tmp_path: Path, scope: str
) -> None:
    cluster_wide = scope == "ftjob.yaml"
    served = new_namespace(client).name
    text = (INSTALL / scope).read_text().replace("ftjob-team", served)  # as its first lines say
    objects = [o for o in yaml.safe_load_all(text) if o and o["kind"] in KINDS]
    account = next(o for o in objects if o["kind"] == "ServiceAccount")["metadata"]
    home = account["namespace"]
    applied = server.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in objects))
    assert applied.returncode == 0, applied.stderr
    try:
        path = f"/api/v1/namespaces/{home}/serviceaccounts/{account['name']}/token"
        token = client.send(
            "POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        ).body["status"]["token"]
        kubeconfig = tmp_path / "kubeconfig"
        config = json.loads(server.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        kubeconfig.write_text(json.dumps(config))

        space = Namespace(client, served)
        name = "digits"
        with (
            running_kubelet(server, served) as kubelet,
            running_operator(
                server,
                tmp_path,
                namespace=served,
                home=home,
                kubeconfig=kubeconfig,
                cluster_wide=cluster_wide,
            ) as operator,
        ):
            space.submit(name, outputs={"size": "1Gi"})
            space.await_phase("Running", name)
            kubelet.finish()
            space.await_phase("Succeeded", name)
            asked = operator.requests()
    finally:
        kept = [o for o in objects if o["kind"] != "Namespace"]
        server.kubectl("delete", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in kept))
    assert [key for key in asked if key[2] in {"401", "403"}] == []
    assert {key[:2] for key in asked} >= {("create", "persistentvolumeclaims"), ("create", "events")}
