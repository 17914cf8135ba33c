"""Captures by annotation, as the API server sees them; the agent of index 0 is a fake: nothing runs here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_fake import running_agent, token_of
from support.agent_runs import wait_for
from support.apiserver import NEWEST, ApiServer
from support.control_cluster import Namespace, mortal_operator, running_kubelet, running_operator

from ftjob.models.names import PLURAL
from ftjob_protocol.captures.order import Asked, CaptureOrder, CapturePhase

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

AT_THE_ORDER = 0
WRITES = (3, 4, 5)
"""Of Requested, Armed, Ready, the collector, its report and its deletion those around the collector."""


def annotate(space: Namespace, value: str) -> None:
    space.patch(PLURAL, "digits", {"metadata": {"annotations": {"ftjob.dev/capture": value}}})


def await_capture(space: Namespace, capture: str, phase: str) -> dict[str, Any]:
    """Return the entry of a capture once it is in this phase."""

    def entry(job: dict[str, Any]) -> dict[str, Any]:
        captures = job.get("status", {}).get("profile", {}).get("captures", [])
        return next((found for found in captures if found["id"] == capture), {})

    return entry(space.await_job(lambda job: entry(job).get("phase") == phase))


def test_the_annotation_is_ordered_once_and_its_phases_are_in_status_whichever_operator_is_there(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    with running_kubelet(server, space.name):
        made = space.submit(outputs={"claimName": "claim"})
        with (
            running_operator(server, tmp_path, namespace=space.name),
            running_agent(made["metadata"]["uid"], token_of(made, space.list)) as agent,
        ):
            space.await_phase("Running")
            annotate(space, json.dumps({"id": "c7", "steps": 3, "ranks": "1"}))
            assert await_capture(space, "c7", "Armed")["ranks"] == "2/2"
            assert set(agent.captures) == {CaptureOrder("c7", steps=3, ranks=(range(1, 2),))}
            annotate(space, "../etc")
            assert "capture.id" in await_capture(space, "invalid-id", "Refused")["reason"]
            ordered, known = len(agent.captures), agent.asked
        with (
            running_operator(server, tmp_path, namespace=space.name),
            running_agent(made["metadata"]["uid"], token_of(made, space.list)) as agent,
        ):
            agent.say(*known)
            annotate(space, "c8")
            await_capture(space, "c8", "Armed")
            by_itself = Asked("auto-0-0", CapturePhase.CAPTURING, 1, 2, "by itself: straggler: rank 1")
            agent.say(
                Asked("c7", CapturePhase.READY, 2, 2),
                Asked("c8", CapturePhase.PARTIAL, 1, 2, "rank 1"),
                by_itself,
            )
            assert await_capture(space, "c7", "Ready")["path"] == "captures/c7"
            assert await_capture(space, "c8", "Partial")["reason"] == "rank 1"
            assert await_capture(space, "auto-0-0", "Capturing")["reason"] == by_itself.reason
            wait_for(lambda: agent.captures, "the order")
            assert {order.id for order in agent.captures} == {"c8"}
    assert ordered >= 1


@pytest.mark.parametrize("write", [AT_THE_ORDER, *WRITES])
def test_a_capture_is_ordered_and_reported_on_once_though_the_operator_dies_in_the_middle(
    server: ApiServer, space: Namespace, tmp_path: Path, write: int
) -> None:
    """At the order, too: the leader has taken it, and the operator that gave it never hears so."""

    def die_at_the_order() -> None:
        if write == AT_THE_ORDER and len(running) == 1:
            running[0].process.kill()

    with running_kubelet(server, space.name) as kubelet:
        made = space.submit(outputs={"claimName": "claim"})
        uid = made["metadata"]["uid"]
        collector = f"digits-{uid[:8]}-report-c7"
        with running_operator(server, tmp_path, namespace=space.name):
            space.await_pods()
            token = token_of(made, space.list)
        with running_agent(uid, token) as agent:
            agent.on_capture = die_at_the_order
            with mortal_operator(
                server, tmp_path, space.name, "--collector-image=it", write=write
            ) as running:
                annotate(space, "c7")
                assert await_capture(space, "c7", "Armed")["ranks"] == "2/2"
                agent.say(Asked("c7", CapturePhase.READY, 2, 2))
                await_capture(space, "c7", "Ready")
                kubelet.finish(collector)
                entry = space.await_job(lambda job: "report" in job["status"]["profile"]["captures"][0])[
                    "status"
                ]["profile"]["captures"]
                wait_for(lambda: collector not in space.pods(), "the end of the collector")
    assert entry == [
        {
            "id": "c7",
            "phase": "Ready",
            "ranks": "2/2",
            "path": "captures/c7",
            "report": "captures/c7/report.html",
        }
    ]
    assert [order.id for order in agent.captures] == ["c7"]
    assert len(kubelet.born[collector]) == 1
    assert len(running) == 2
