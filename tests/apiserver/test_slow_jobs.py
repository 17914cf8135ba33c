"""Slow jobs, as the API server sees them; the agent of index 0 is a fake, since nothing runs here."""

from pathlib import Path

import pytest
from support.agent_fake import running_agent, token_of
from support.agent_runs import wait_for
from support.apiserver import NEWEST, ApiServer
from support.control_cluster import Namespace, running_kubelet, running_operator

from ftjob_protocol.vitals.verdict import Confidence, Finding, Verdict

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

TEXT = "straggler: rank 1 costs 47 % of each step (train.py:31 load)"
SLOW = Finding(
    "Straggler",
    TEXT,
    Confidence.HIGH,
    0.465,
    (range(1, 2),),
    cause="Input",
    line="train.py:31 load",
    excess_ms=31.2,
    evidence=("own 63.4 ms, others 32.4",),
    next="raise num_workers",
)
SERIES = 'ftjob_job_finding_share{{job="digits",kind="Straggler",namespace="{}"}} 0.465'


def test_a_slow_job_says_so_in_its_status_an_event_and_a_metric(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    with (
        running_kubelet(server, space.name) as kubelet,
        running_operator(server, tmp_path, namespace=space.name) as operator,
    ):
        made = space.submit(workers=2)
        with running_agent(made["metadata"]["uid"], token_of(made, space.list)) as agent:
            space.await_phase("Running")
            agent.verdict = Verdict(TEXT, "Straggler", 1.0, (SLOW,))
            job = space.await_job(lambda job: (job["status"].get("profile") or {}).get("verdict") == TEXT)
            event = wait_for(
                lambda: next((e for e in space.list("events") if e["reason"] == "Slow"), None), "the Event"
            )
            wait_for(lambda: SERIES.format(space.name) in operator.get("/metrics")[1], "the metric")
            kubelet.finish()
            ended = space.await_phase("Succeeded")
        wait_for(lambda: SERIES.format(space.name) not in operator.get("/metrics")[1], "the metric's end")
    profile = job["status"]["profile"]
    assert profile["findings"] == [
        {
            "kind": "Straggler",
            "text": TEXT,
            "confidence": "High",
            "costShare": 0.465,
            "ranks": "1",
            "cause": "Input",
            "line": "train.py:31 load",
            "evidence": ["own 63.4 ms, others 32.4"],
            "next": "raise num_workers",
        }
    ]
    (late,) = profile["stragglers"]
    assert (late["rank"], late["latenessMs"], late["cause"]) == (1, 31.2, "Input")
    assert profile["verdictTime"]
    assert (event["type"], event.get("note") or event.get("message")) == ("Warning", TEXT)
    assert ended["status"]["profile"]["verdict"] == TEXT
