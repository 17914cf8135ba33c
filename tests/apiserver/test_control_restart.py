"""Killed after any write, the next operator ends at the same: nothing twice, nothing missing."""

from pathlib import Path

import pytest
from support.apiserver import NEWEST, ApiServer
from support.control_cluster import Namespace, mortal_operator, running_kubelet

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

WRITES = 14
"""One life has about a dozen: key, start, Secret, Service, three pods, Events, Running, Succeeded."""


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_an_operator_killed_after_a_write_is_continued_by_the_next(
    server: ApiServer, space: Namespace, tmp_path: Path, write: int
) -> None:
    space.submit(workers=3)
    with (
        mortal_operator(server, tmp_path, space.name, write=write),
        running_kubelet(server, space.name) as kubelet,
    ):
        space.await_pods()
        kubelet.finish()
        job = space.await_phase("Succeeded")
    assert {pod: len(uids) for pod, uids in kubelet.born.items()} == {
        f"digits-worker-0-{index}": 1 for index in range(3)
    }
    assert len(space.list("services")) == 1
    assert len(space.list("secrets")) == 2
    assert job["status"]["attempt"] == 0
    assert job["status"]["restarts"] == {"failures": 0, "disruptions": 0}
