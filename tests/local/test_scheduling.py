"""What concerns a cluster's schedulers concerns no local run."""

from pathlib import Path

from support.local_run import plain_job, run


def test_a_gang_is_no_matter_on_one_machine(tmp_path: Path) -> None:
    job = plain_job("print('hello')", workers=2)
    job["spec"]["scheduling"] = {"gang": "Native", "topologyKey": "topology.kubernetes.io/zone"}
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert "gang" not in ran.status
    assert ran.job["spec"]["scheduling"]["gang"] == "Native", "the file holds the job as it was written"
