"""Jobs whose pods an earlier version of the operator made go on under this one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from support.apiserver import NEWEST
from support.control_cluster import index_of, new_namespace, running_kubelet, running_operator

if TYPE_CHECKING:
    from typing import Any

    from support.apiserver import ApiServer, Client

EARLIER: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "earlier_pod.yaml").read_text())


def as_made_before(pod: dict[str, Any]) -> dict[str, Any]:
    """Return a pod as the earlier version made it: an init container brings the agent."""
    meta, earlier = pod["metadata"], EARLIER["metadata"]
    text = json.dumps(EARLIER)
    for old, new in (
        (earlier["ownerReferences"][0]["uid"], meta["ownerReferences"][0]["uid"]),
        (earlier["namespace"], meta["namespace"]),
        (earlier["name"], meta["name"]),
    ):
        text = text.replace(old, new)
    body: dict[str, Any] = json.loads(text)
    body["metadata"]["labels"] = copy.deepcopy(meta["labels"])
    return body


@pytest.mark.parametrize("server", [NEWEST], indirect=True)
def test_a_job_whose_pods_an_earlier_version_made_runs_to_its_end_in_them(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    space = new_namespace(client)
    with running_operator(server, tmp_path, namespace=space.name), running_kubelet(server, space.name):
        space.submit(workers=2)
        space.await_pods()
    made = space.pods()
    for name, pod in made.items():
        space.delete("pods", name, grace_seconds=0)
        space.create("pods", as_made_before(pod))
    before = {name: pod["metadata"]["uid"] for name, pod in space.pods().items()}
    assert sorted(before) == sorted(made)
    with (
        running_kubelet(server, space.name) as kubelet,
        running_operator(server, tmp_path, namespace=space.name) as operator,
    ):
        # A job that comes and goes shows that the operator has looked at all that was there.
        space.submit("another")
        space.await_pods("another")
        kubelet.finish()
        ended = space.await_phase("Succeeded")
        touched = [key for key in operator.requests() if key[1] == "pods" and key[0] in {"delete", "patch"}]
    assert touched == []
    assert ended["status"]["podAttempt"] == 0
    assert ended["status"]["restarts"] == {"failures": 0, "disruptions": 0}
    after = {name: pod for name, pod in space.pods().items() if name in made}
    assert {name: pod["metadata"]["uid"] for name, pod in after.items()} == before
    assert sorted(index_of(pod) for pod in after.values()) == [0, 1]
