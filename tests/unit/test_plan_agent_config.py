"""What agents and ranks are told."""

import json
from dataclasses import replace
from typing import Any

import pytest
from support.builders import CONFIG, JobBuilder, job

from ftjob.plan.build.agent_config import AgentCommand, agent_command, profiled_ranks
from ftjob.plan.layout import cluster_layout
from ftjob_protocol.agent_config import parse

FOUR = job().strategy("Horovod").workers(2).processes(2)


def told(wanted: JobBuilder, index: int = 0, **where: str) -> AgentCommand:
    built = wanted.build()
    assert built.problems == ()
    layout = cluster_layout(built, 0)
    return agent_command(built, layout, layout.workers[index], CONFIG, **where)


def env(wanted: JobBuilder, index: int = 0, local_rank: int = 0) -> dict[str, str]:
    return dict(parse(told(wanted, index).config_json).ranks[local_rank].env)


def test_ranks_know_who_they_are() -> None:
    found = env(FOUR, index=1, local_rank=1)
    assert found["FTJOB_RANK"] == found["HOROVOD_RANK"] == "3"
    assert found["FTJOB_LOCAL_RANK"] == found["HOROVOD_LOCAL_RANK"] == "1"
    assert found["FTJOB_WORLD_SIZE"] == found["HOROVOD_SIZE"] == "4"
    assert (found["HOROVOD_CROSS_RANK"], found["HOROVOD_CROSS_SIZE"]) == ("1", "2")
    assert env(job().workers(3), index=2)["JOB_COMPLETION_INDEX"] == "2"


def test_only_the_leader_serves_the_rendezvous() -> None:
    assert told(FOUR, 0).config.as_json()["rendezvous"]["hostPrefix"] == "digits-worker-0-"
    assert parse(told(FOUR, 1).config_json).rendezvous is None


def test_the_agent_keeps_identity_from_the_users_env_from() -> None:
    identity = told(FOUR).config.as_json()["identity"]
    assert {"HOROVOD_RANK", "HOROVOD_SIZE", "FTJOB_RANK"} <= set(identity)
    assert "NCCL_SOCKET_IFNAME" not in identity
    assert identity == sorted(identity)


@pytest.mark.parametrize(
    ("outputs", "limit"),
    [({}, 1 << 30), ({"logLimit": "1Mi"}, 1 << 20), ({"logLimit": "20Gi"}, 20 << 30)],
)
def test_a_log_takes_a_gibibyte_unless_the_job_says_otherwise(outputs: dict[str, str], limit: int) -> None:
    assert parse(told(job().outputs(**outputs)).config_json).log_limit == limit
    assert parse(told(job()).config_json).log_limit == 1 << 30


def test_lines_are_marked_in_pods_of_several_ranks_unless_the_job_wants_them_raw() -> None:
    assert parse(told(FOUR).config_json).mark_ranks
    assert not parse(told(job().workers(2)).config_json).mark_ranks
    for value, is_marked in (("true", False), ("false", True), ("", True)):
        raw = replace(FOUR.build(), annotations={"ftjob.dev/raw-logs": value})
        layout = cluster_layout(raw, 0)
        found = agent_command(raw, layout, layout.workers[0], CONFIG)
        assert parse(found.config_json).mark_ranks is is_marked


@pytest.mark.parametrize(
    ("cpu", "processes", "threads"),
    [("8", 2, "4"), (8, 2, "4"), (7.5, 2, "3"), ("3500m", 2, "1"), ("500m", 4, "1"), ("8", 1, "8"),
     (None, 2, None), (None, 1, None), ("1k", 4, "250"), ("2e1", 4, "5"), ("8000000u", 2, "4")],
)  # fmt: skip
def test_ranks_share_the_cpu_limit(cpu: Any, processes: int, threads: str | None) -> None:
    wanted = FOUR.processes(processes)
    wanted = wanted if cpu is None else wanted.limits(cpu=cpu)
    assert env(wanted).get("OMP_NUM_THREADS") == threads


def test_outputs_are_where_the_worker_sees_them() -> None:
    found = told(FOUR, outputs="/tmp/elsewhere").config.as_json()
    assert found["outputs"] == "/tmp/elsewhere"
    assert found["env"]["FTJOB_CHECKPOINT_DIR"] == "/tmp/elsewhere/checkpoints"


@pytest.mark.parametrize(("outputs", "keeps"), [({"size": "1Gi"}, True), (None, False)])
def test_logs_are_kept_where_they_outlive_the_pod(outputs: Any, keeps: bool) -> None:
    assert parse(told(FOUR.with_spec(outputs=outputs)).config_json).keep_logs is keeps


@pytest.mark.parametrize(
    ("text", "ranks"),
    [("All", {0, 1, 2, 3}), ("OnePerWorker", {0, 2}), ("1", {1}), ("0,2-3", {0, 2, 3}), ("2-99", {2, 3}),
     ("1000-9999", set())],
)  # fmt: skip
def test_profiled_ranks(text: str, ranks: set[int]) -> None:
    wanted = FOUR.with_spec(profiling={"mode": "Scheduled", "ranks": text}, outputs={"size": "1Gi"}).build()
    assert wanted.spec is not None
    assert profiled_ranks(wanted.spec, cluster_layout(wanted, 0)) == ranks


def test_a_worker_hears_of_its_own_profiled_ranks_as_local_ones() -> None:
    wanted = FOUR.with_spec(profiling={"mode": "Scheduled", "ranks": "1-2"}, outputs={"size": "1Gi"})
    assert [told(wanted, i).config.as_json()["profiling"]["ranks"] for i in (0, 1)] == [[1], [0]]
    assert parse(told(FOUR.with_spec(profiling={"mode": "Off"})).config_json).profiling is None


def test_checkpoints_lie_where_every_attempt_finds_them() -> None:
    wanted = FOUR.outputs(size="1Gi").build()
    layouts = [cluster_layout(wanted, attempt) for attempt in range(3)]
    found = {
        rank.env["FTJOB_CHECKPOINT_DIR"]
        for layout in layouts
        for worker in layout.workers
        for rank in agent_command(wanted, layout, worker, CONFIG).config.ranks
    }
    assert found == {"/ftjob/outputs/checkpoints"}


def test_agents_hear_of_the_watchdog_and_whether_their_ranks_make_steps() -> None:
    assert "watchdog" not in told(FOUR).config.as_json()
    watched = {"watchdog": {"hangSeconds": 60}}
    assert [told(FOUR.with_spec(**watched), i).config.as_json()["watchdog"] for i in (0, 1)] == [
        {"hangSeconds": 60, "counts": True}
    ] * 2
    counts = [told(SERVERS.with_spec(**watched), i).config.as_json()["watchdog"]["counts"] for i in range(4)]
    assert counts == [True, False, False, False]  # the chief, two workers, a parameter server


SERVERS = job().strategy("ParameterServer").workers(2).outputs(size="1Gi")


@pytest.mark.parametrize(("ranks", "profiled"), [("All", {0}), ("OnePerWorker", {0}), ("0-1,3", {0, 1, 3})])
def test_only_who_makes_steps_is_profiled_unless_named(ranks: str, profiled: set[int]) -> None:
    wanted = SERVERS.with_spec(profiling={"mode": "Scheduled", "ranks": ranks}).build()
    assert wanted.spec is not None
    assert profiled_ranks(wanted.spec, cluster_layout(wanted, 0)) == profiled


@pytest.mark.parametrize(
    ("wanted", "ends"),
    [
        (SERVERS, [True, False, False, False]),
        (SERVERS.roles(chief=0), [True, False, False]),
        (job().workers(2).success("Worker0"), [True, False]),
        (FOUR, [False, False]),
    ],
)
def test_who_ends_the_job_by_its_success(wanted: JobBuilder, ends: list[bool]) -> None:
    assert [parse(told(wanted, i).config_json).success_ends_job for i in range(len(ends))] == ends


def test_roles_have_templates_of_their_own() -> None:
    own = job().with_trainer(command=["serve"], env=[{"name": "NCCL_DEBUG", "value": "1"}])
    template = own.spec["template"]
    template["spec"]["terminationGracePeriodSeconds"] = 100
    wanted = SERVERS.roles(ps={"template": template})
    chief, server = told(wanted, 0), told(wanted, 3)
    assert (chief.command, server.command) == (("python3", "-m", "train"), ("serve",))
    assert (chief.config.as_json()["stopGraceSeconds"], server.config.as_json()["stopGraceSeconds"]) == (
        28,
        98,
    )
    assert (server.config.as_json()["role"], server.config.as_json()["index"]) == ("ps", 0)
    assert server.config.as_json()["roles"] == {"chief": 1, "worker": 2, "ps": 1}


def test_command_and_args_are_the_users() -> None:
    wanted = job().with_trainer(command=["sh", "-c"], args=["echo $(FTJOB_INDEX)"])
    assert told(wanted).command == ("sh", "-c", "echo $(FTJOB_INDEX)")


def test_the_configuration_is_json_in_a_fixed_order() -> None:
    first, second = told(FOUR).config_json, told(FOUR).config_json
    assert first == second
    assert json.loads(first) == told(FOUR).config.as_json()


def test_how_long_a_rank_may_go_on_after_an_exception_is_the_jobs_to_say() -> None:
    assert parse(told(job()).config_json).exception_grace == 60
    for seconds in (0, 3600):
        assert (
            parse(told(job().with_spec(exceptionGraceSeconds=seconds)).config_json).exception_grace == seconds
        )
