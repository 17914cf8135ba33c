"""One rank hangs: the job says which, where and why, and the rules decide what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.cluster import job

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
