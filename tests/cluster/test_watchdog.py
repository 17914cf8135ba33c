"""What is seen of ranks from outside while they run: which one hangs, and what its steps do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from support.cluster import job, pods_of

if TYPE_CHECKING:
    from support.cluster import Cluster


def test_a_hanging_rank_is_named_and_the_next_attempt_succeeds(frameworks: Cluster) -> None:
    command = ["python3", "/programs/torch_hang.py", "--hang-rank=2"]
    made = job("hangs", command, strategy="Torchrun", workers=2, processes=2, frameworks=True)
    made["spec"] |= {"watchdog": {"hangSeconds": 15}, "restart": {"limit": 1, "backoffSeconds": 0}}
    frameworks.apply(made)
    frameworks.until("ftj", "hangs", "{.status.failure.reason}=Hang", seconds=240)
    failure = frameworks.get("ftj", "hangs")["status"]["failure"]
    assert failure["rank"] == 2, failure
    assert failure["pod"] == "hangs-worker-0-1"
    last = failure["message"].splitlines()[-1]
    assert last.startswith("no step for ")
    assert "rank 2 is at load (programs/torch_hang.py:" in last
    assert "while ranks 0-1, 3 wait at all_reduce (torch/distributed/" in last
    assert failure["logTail"].endswith("rank 2: step 4 done")
    assert "exitCode" not in failure
    done = frameworks.finished("hangs")["status"]
    assert done["phase"] == "Succeeded", done
    assert done["restarts"]["failures"] == 1
    events = frameworks.items("events.events.k8s.io")
    said = [event for event in events if event["regarding"]["name"] == "hangs" and event["reason"] == "Hang"]
    assert "rank 2 (pod hangs-worker-0-1" in said[0]["note"]


def test_a_running_job_on_two_nodes_is_captured_by_its_annotation(frameworks: Cluster) -> None:
    script = "touch /ftjob/outputs/go; exec python3 /programs/capture_torch.py /ftjob/outputs/go"
    apart = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"ftjob.dev/job": "captured"}},
    }
    made = job(
        "captured", ["sh", "-c", script], strategy="Torchrun", workers=2, frameworks=True,
        topologySpreadConstraints=[apart],
    )  # fmt: skip
    made["spec"]["outputs"] = {"size": "1Gi"}
    frameworks.apply(made)
    frameworks.until("ftj", "captured", "{.status.phase}=Running", seconds=240)
    uids = {pod["metadata"]["uid"] for pod in pods_of(frameworks, "captured")}
    assert len({pod["spec"]["nodeName"] for pod in pods_of(frameworks, "captured")}) == 2
    order = json.dumps({"id": "c1", "steps": 3})
    frameworks.kubectl("annotate", "ftj", "captured", f"ftjob.dev/capture={order}")
    # A job on busy nodes may be captured automatically as well.
    ordered = '.status.profile.captures[?(@.id=="c1")]'
    running = frameworks.until("ftj", "captured", f"{{{ordered}.report}}", seconds=240)
    [entry] = [each for each in running["status"]["profile"]["captures"] if each["id"] == "c1"]
    assert (entry["ranks"], entry["path"]) == ("2/2", "captures/c1")
    outputs = frameworks.outputs_of(running)
    done = [
        json.loads(path.read_text()) for path in sorted((outputs / entry["path"]).glob("raw/*/done.json"))
    ]
    assert [found["lastStep"] - found["firstStep"] for found in done] == [2, 2]
    # On busy nodes a rank may hear of it late; then the capture says so.
    at_once = done[0]["firstStep"] == done[1]["firstStep"]
    assert entry["phase"] == "Ready" if at_once else "began at another step" in entry["reason"], entry
    assert all(found["files"][0].endswith(".pt.trace.json.gz") for found in done)
    frameworks.kubectl("exec", "captured-worker-0-0", "-c", "trainer", "--", "rm", "/ftjob/outputs/go")
    assert frameworks.finished("captured")["status"]["phase"] == "Succeeded"
    assert {pod["metadata"]["uid"] for pod in pods_of(frameworks, "captured")} <= uids
