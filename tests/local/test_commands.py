"""What ranks are started as: `$(RANK)` and the like in `command` and `args`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.local_run import plain_job, run

if TYPE_CHECKING:
    from pathlib import Path

SAYS = "import sys; print('TOLD', *sys.argv[1:])"


def test_a_command_names_what_tells_a_rank_who_it_is(tmp_path: Path) -> None:
    job = plain_job(SAYS, workers=2, processes=2)
    job["spec"]["strategy"] = "Torchrun"
    words = ["--rank=$(RANK)", "$(LOCAL_RANK)of$(LOCAL_WORLD_SIZE)", "$(FTJOB_RANK)/$(WORLD_SIZE)"]
    job["spec"]["template"]["spec"]["containers"][0]["args"] += [*words, "$(NOT_OURS)", "$$(x)", "$RANK"]
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    for rank in range(4):
        told = f"TOLD --rank={rank} {rank % 2}of2 {rank}/4 $(NOT_OURS) $(x) $RANK\n"
        assert told in ran.log(rank)


def test_an_indexed_job_names_its_completion_index(tmp_path: Path) -> None:
    job = plain_job(SAYS, workers=3)
    job["spec"]["template"]["spec"]["containers"][0]["args"] += ["shard-$(JOB_COMPLETION_INDEX).csv"]
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert all(f"TOLD shard-{rank}.csv\n" in ran.log(rank) for rank in range(3))


def test_a_shells_own_words_stay_the_shells(tmp_path: Path) -> None:
    trainer: dict[str, Any] = {
        "command": ["sh", "-c"],
        "args": ['x=$(echo inner); echo "TOLD $(JOB_COMPLETION_INDEX) $x $(basename /a/RANK) ${HOME:+home}"'],
    }
    ran = run(plain_job("", workers=2, **trainer), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert [f"TOLD {rank} inner RANK home\n" in ran.log(rank) for rank in range(2)] == [True, True]


def test_what_is_filled_in_is_the_present_attempts(tmp_path: Path) -> None:
    script = "import sys; print('TOLD', *sys.argv[1:]); sys.exit(42 if sys.argv[1] == '0' else 0)"
    job = plain_job(script, workers=2)
    job["spec"] |= {"strategy": "Torchrun", "restart": {"limit": 3, "retryExitCodes": "42"}}
    job["spec"]["restart"]["backoffSeconds"] = 0
    words = ["$(TORCHELASTIC_RESTART_COUNT)", "$(TORCHELASTIC_MAX_RESTARTS)"]
    job["spec"]["template"]["spec"]["containers"][0]["args"] += words
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert "TOLD 1 3\n" in ran.log(0)
