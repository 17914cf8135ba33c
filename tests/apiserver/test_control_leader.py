"""Two operators, one Lease: one works, the other takes over; who loses the Lease leaves at once."""

from pathlib import Path

import pytest
from support.agent_runs import wait_for
from support.apiserver import NEWEST, ApiServer
from support.control_cluster import Namespace, running_kubelet, running_operator
from support.fault_proxy import fault_proxy

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

LEASE = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/ftjob-operator"


def test_the_second_operator_stands_by_and_takes_over(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    with (
        running_kubelet(server, space.name),
        running_operator(server, tmp_path, namespace=space.name) as first,
        running_operator(server, tmp_path, namespace=space.name, leading=False) as second,
    ):
        space.submit()
        space.await_pods()
        assert first.writes() > 0
        assert second.writes() == 0
        first.process.terminate()
        assert first.process.wait(timeout=30) == 0
        space.submit("next")
        space.await_pods("next")
        assert second.writes() > 0


def test_an_operator_that_loses_the_lease_leaves_at_once(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    with running_operator(server, tmp_path, namespace=space.name) as operator:
        space.client.send(
            "PATCH",
            LEASE.format(space.name),
            {"spec": {"holderIdentity": "another"}},
            content_type="application/merge-patch+json",
        )
        assert operator.process.wait(timeout=30) == 1
        assert "not the leader any more" in operator.log.read_text()


def test_the_lease_is_free_at_once_after_a_clean_end(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    with running_operator(server, tmp_path, namespace=space.name) as operator:
        operator.process.terminate()
        assert operator.process.wait(timeout=30) == 0
    lease = space.client.send("GET", LEASE.format(space.name)).body
    assert not lease["spec"].get("holderIdentity")


def test_an_operator_that_is_stopped_while_kopf_looks_for_kinds_has_a_clean_end(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    with fault_proxy(server, tmp_path) as proxy:
        proxy.hanging.add("apiextensions.k8s.io")
        with running_operator(
            server, tmp_path, namespace=space.name, kubeconfig=proxy.kubeconfig
        ) as operator:
            wait_for(lambda: proxy.hits, "kopf to ask for kinds")
            operator.process.terminate()
            assert operator.process.wait(timeout=30) == 0
        proxy.hanging.clear()
