"""Strangers who know a job's UID: pods of another namespace, or of its own, that say they belong to it."""

from __future__ import annotations

from typing import Any

from support.cluster import Cluster, job, pods_of
from support.scenario import HELD, let_go

from ftjob.plan.layout import agent_port

STEP = 7
PROGRAM = f"""
import os
with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
    file.write('{{"step": {STEP}}}\\n')
{HELD}
"""

LEADER = """
import http.server, json, sys
answer = {"version": 9, "attempt": 0, "ordered": 0, "state": "Running", "ranks": {}, "captures": {},
          "notes": [], "progress": {"step": 31337, "totalSteps": 31337}, "failure": None, "watchdog": ""}
class Stranger(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("ASKED", self.path, dict(self.headers), flush=True)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
print("listens", flush=True)
http.server.HTTPServer(("", int(sys.argv[1])), Stranger).serve_forever()
"""
"""Stands where a leader would: prints whatever it is asked."""


def stranger(victim: dict[str, Any], name: str, command: list[str], **labels: str) -> dict[str, Any]:
    """Return a pod with the labels of one of the job's, and with the agent's variable."""
    spec = job(name, command)["spec"]["template"]["spec"]
    spec["restartPolicy"] = "Never"
    spec["containers"][0]["env"] = [{"name": "FTJOB_AGENT_CONFIG", "value": "{}"}]
    meta = victim["metadata"]
    worn = {"job": meta["name"], "uid": meta["uid"], "role": "worker", "index": "0", "attempt": "0", **labels}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {f"ftjob.dev/{label}": value for label, value in worn.items()}},
        "spec": spec,
    }


def test_pods_that_say_they_belong_to_a_job_move_nothing(cluster: Cluster, elsewhere: Cluster) -> None:
    cluster.apply(job("victim", ["python3", "-c", PROGRAM], workers=2))
    cluster.until("ftj", "victim", f"{{.status.progress.step}}={STEP}")
    victim = cluster.get("ftj", "victim")
    port = str(agent_port(victim["metadata"]["uid"]))
    for space in (cluster, elsewhere):
        listens = ["python3", "-c", LEADER, port]
        space.apply(
            stranger(victim, "leader-to-come", listens, attempt="999"),
            stranger(victim, "leader-of-now", listens),
            stranger(victim, "success", ["true"], index="1"),
            stranger(victim, "failure", ["sh", "-c", "exit 3"], index="1"),
        )
        space.until("pod", "success", "{.status.phase}=Succeeded")
        space.until("pod", "failure", "{.status.phase}=Failed")
        for name in ("leader-to-come", "leader-of-now"):
            space.until("pod", name, "{.status.phase}=Running")
    # Of the true leader there is news after all of that.
    leader = next(p for p in pods_of(cluster, "victim") if p["metadata"]["name"] == "victim-worker-0-0")
    report = 'echo "{\\"step\\": 8}" >>"$(ls -d /ftjob/run/rank-*)/progress.jsonl"'
    cluster.kubectl("exec", leader["metadata"]["name"], "-c", "trainer", "--", "sh", "-c", report)
    status = cluster.until("ftj", "victim", "{.status.progress.step}=8")["status"]
    assert (status["phase"], status["attempt"]) == ("Running", 0)
    assert status["roles"][0]["ready"] == 2
    for space in (cluster, elsewhere):
        for name in ("leader-to-come", "leader-of-now"):
            said = space.kubectl("logs", name)
            assert "listens" in said
            assert "ASKED" not in said, "no token, and no question, goes to a stranger"
    for index in (0, 1):
        let_go(cluster, f"victim-worker-0-{index}")
    assert cluster.finished("victim")["status"]["phase"] == "Succeeded"


def test_strangers_hold_back_no_later_job_of_the_name(cluster: Cluster, elsewhere: Cluster) -> None:
    cluster.apply(job("again", ["python3", "-c", HELD]))
    cluster.until("ftj", "again", "{.status.phase}=Running")
    first = cluster.get("ftj", "again")
    for space in (cluster, elsewhere):
        space.apply(stranger(first, "stays", ["sleep", "600"]))
        space.until("pod", "stays", "{.status.phase}=Running")
    cluster.kubectl("delete", "ftj", "again")
    cluster.apply(job("again", ["true"]))
    assert cluster.finished("again")["status"]["phase"] == "Succeeded"
    for space in (cluster, elsewhere):
        assert space.get("pod", "stays")["status"]["phase"] == "Running", "they are not ours to delete"
