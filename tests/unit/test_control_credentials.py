"""Where the operator finds the API server."""

import kopf
import pytest

from ftjob.control.credentials import connection_info


@pytest.fixture
def in_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    found = kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="t", default_namespace="n")
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: found)


@pytest.mark.usefixtures("in_pod")
@pytest.mark.parametrize(
    ("host", "server"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_in_a_pod_the_address_from_the_kubelet_needs_no_dns(
    monkeypatch: pytest.MonkeyPatch, host: str, server: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    info = connection_info()
    assert (info.server, info.token, info.default_namespace) == (server, "t", "n")


@pytest.mark.usefixtures("in_pod")
def test_a_pod_without_that_address_falls_back_to_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert connection_info().server == "https://kubernetes.default.svc"


def test_outside_of_pods_the_kubeconfig_is_read_and_its_absence_is_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
    monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: None)
    with pytest.raises(kopf.LoginError, match="set KUBECONFIG"):
        connection_info()
