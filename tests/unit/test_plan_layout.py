"""Who is where: ranks, names, addresses and ports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import UID, job

from ftjob.plan.layout import agent_port, cluster_layout, local_layout, local_port_count, worker_port


@given(workers=st.integers(1, 12), processes=st.integers(1, 9), attempt=st.integers(0, 5))
def test_every_rank_has_one_place(workers: int, processes: int, attempt: int) -> None:
    wanted = job().strategy("Horovod").workers(workers).processes(processes).build()
    layout = cluster_layout(wanted, attempt)
    assert layout.world_size == workers * processes
    places = list(layout.ranks())
    assert [rank for _, rank, _ in places] == list(range(layout.world_size))
    assert all(rank == place.first_rank + local for place, rank, local in places)
    assert len({place.name for place in layout.workers}) == workers
    assert layout.leader.index == 0


def test_pods_find_each_other_by_the_service() -> None:
    layout = cluster_layout(job().workers(2).build(), attempt=3)
    assert [w.host for w in layout.workers] == [
        "digits-worker-3-0.digits.team.svc",
        "digits-worker-3-1.digits.team.svc",
    ]
    assert {w.port for w in layout.workers} == {agent_port(UID)}
    assert layout.rendezvous_port == agent_port(UID) + 1


@pytest.mark.parametrize(
    ("strategy", "gpus", "said", "processes"),
    [("Horovod", 4, None, 4), ("Horovod", 4, 2, 2), ("Horovod", 0, None, 1), ("Mirrored", 2, None, 1)],
)
def test_ranks_of_a_worker(strategy: str, gpus: int, said: int | None, processes: int) -> None:
    wanted = job().strategy(strategy).limits(gpu=gpus).with_spec(processesPerWorker=said)
    assert cluster_layout(wanted.build(), 0).world_size == processes


@given(st.uuids())
def test_ports_stay_below_those_that_others_choose(uid: object) -> None:
    port = agent_port(str(uid))
    assert 20_000 <= port < 29_600
    assert port % 8 == 0


def test_workers_on_their_nodes_network_have_ports_of_their_own() -> None:
    template = {"spec": {"hostNetwork": True, "containers": [{"name": "t", "command": ["a"]}]}}
    wanted = job().workers(1_000).template(template).build()
    layout = cluster_layout(wanted, 0)
    leader, *others = layout.workers
    assert leader.port == agent_port(UID), "where the operator looks for it"
    assert [worker_port(wanted, w.role, w.index) for w in layout.workers] == [w.port for w in layout.workers]
    taken = [leader.port, leader.server_port, layout.rendezvous_port, layout.slices_port]
    taken += [port for worker in others for port in (worker.port, worker.server_port)]
    assert len(set(taken)) == len(taken)
    assert 20_000 <= min(taken) <= max(taken) < 29_600


def test_only_a_role_on_its_nodes_network_has_ports_of_its_own() -> None:
    pod = {"containers": [{"name": "t", "image": "i", "command": ["a"]}]}
    roles = {
        "ps": {"replicas": 2, "template": {"spec": {**pod, "hostNetwork": True}}},
        "chief": {},
    }
    wanted = (
        job().strategy("ParameterServer").workers(2).template({"spec": pod}).with_spec(roles=roles).build()
    )
    layout = cluster_layout(wanted, 0)
    assert [worker_port(wanted, w.role, w.index) for w in layout.workers] == [w.port for w in layout.workers]
    assert len({w.port for w in layout.workers}) == 3


def test_names_at_the_limit_are_host_names() -> None:
    layout = cluster_layout(job("a" * 40).workers(1000).build(), attempt=12_345)
    assert max(len(w.name) for w in layout.workers) <= 63


def test_local_workers_share_the_machine_not_the_ports() -> None:
    wanted = job().strategy("Horovod").workers(2).processes(2).build()
    layout = local_layout(wanted, 0, tuple(range(4000, 4000 + local_port_count(wanted))))
    assert {w.host for w in layout.workers} == {"127.0.0.1"}
    listening = [layout.rendezvous_port, layout.slices_port]
    listening += [port for w in layout.workers for port in (w.port, w.server_port)]
    assert sorted(listening) == list(range(4000, 4006))
    assert layout.is_local
    assert [w.ranks for w in layout.workers] == [w.ranks for w in cluster_layout(wanted, 0).workers]


SERVERS = job().strategy("ParameterServer").workers(2)


@pytest.mark.parametrize(
    ("roles", "places", "leader"),
    [
        (None, ["chief-0", "worker-0", "worker-1", "ps-0"], "chief"),
        ({"ps": {"replicas": 2}, "evaluator": {"replicas": 1}},
         ["chief-0", "worker-0", "worker-1", "ps-0", "ps-1", "evaluator-0"], "chief"),
        ({"chief": {"replicas": 0}}, ["worker-0", "worker-1", "ps-0"], "worker"),
    ],
)  # fmt: skip
def test_roles_are_in_rank_order(roles: object, places: list[str], leader: str) -> None:
    layout = cluster_layout(SERVERS.with_spec(roles=roles).build(), 3)
    assert [f"{w.role}-{w.index}" for w in layout.workers] == places
    assert [w.name for w in layout.workers] == [f"digits-{place.replace('-', '-3-')}" for place in places]
    assert [w.first_rank for w in layout.workers] == list(range(len(places)))
    assert (layout.leader.role, layout.leader.index) == (leader, 0)
    assert sum(len(of_role) for of_role in layout.by_role.values()) == len(places)


def test_a_role_with_the_longest_name_is_a_host_name() -> None:
    wanted = job("a" * 40).strategy("ParameterServer").with_spec(roles={"evaluator": {"replicas": 1}})
    assert max(len(w.name) for w in cluster_layout(wanted.build(), 99_999).workers) <= 63
