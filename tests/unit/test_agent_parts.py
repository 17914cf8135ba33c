"""The agent's parts that decide without processes: failures, progress, messages, the book of the star."""

from __future__ import annotations

import ast
import json
import math
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.agent_runs import plan
from support.agent_zipapp import OPERATOR, SOURCES

from ftjob_agent import linux, termination_log
from ftjob_agent.config import check_identity
from ftjob_agent.loop import Loop
from ftjob_agent.ranks import diagnosis, environment
from ftjob_agent.ranks.pump import RankLog
from ftjob_agent.ranks.raised import Raised
from ftjob_agent.ranks.supervise import Rank
from ftjob_agent.star import client as client_module
from ftjob_agent.star.book import Book, RefusedError
from ftjob_agent.star.client import Client
from ftjob_agent.watching.rank_folder import Reader
from ftjob_protocol.agent_config import parse
from ftjob_protocol.failures import Failure, first
from ftjob_protocol.rank_spec import RankSpec

if TYPE_CHECKING:
    import http.client

    from ftjob_agent.ranks.pump import Pump


@pytest.mark.parametrize(
    "words",
    [
        "horovod.common.exceptions.HorovodInternalError: Connection closed by peer",
        "[gloo/transport/tcp/pair.cc:589] Read error [127.0.0.1]:2: Connection reset by peer",
        "Collective ops is aborted by: Worker /job:worker/task:1 is down",
        "torch.distributed.DistBackendError: NCCL error in: x: ncclRemoteError: remote process exited",
        "UnavailableError: Task /job:worker/replica:0/task:1 stopped sending heartbeats",
        "grpc: StatusCode.UNAVAILABLE failed to connect to all addresses",
        "Terminating process because the JAX distributed service detected fatal errors.",
        "[1] RuntimeError: [gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.7]",
    ],
)
def test_words_of_a_lost_peer_are_known(words: str) -> None:
    assert diagnosis.tells_of_lost_peer(words)


@pytest.mark.parametrize(
    "words",
    ["ValueError: bad label", "CUDA out of memory", "FileNotFoundError: /data/x.csv", "KeyError: 'peer'"],
)
def test_words_of_own_failures_are_not(words: str) -> None:
    assert not diagnosis.tells_of_lost_peer(words)


def test_an_exception_raised_from_a_lost_peers_is_a_victims() -> None:
    traceback = (
        "Traceback (most recent call last):\nHorovodInternalError: x\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\nRuntimeError: training failed"
    )
    record = {"type": "RuntimeError", "message": "training failed", "traceback": traceback}
    assert diagnosis.of_rank(0, code=1, ended_ns=1, tail="", record=record).failure_class == "PeerLost"


def test_source_lines_of_a_traceback_do_not_make_a_victim() -> None:
    head = "Traceback (most recent call last):\n"
    traceback = head + '  File "t.py", line 3\n    except HorovodInternalError:\nValueError: mine'
    record = {"type": "ValueError", "message": "mine", "traceback": traceback}
    assert diagnosis.of_rank(0, code=1, ended_ns=1, tail="", record=record).failure_class == "Exception"


def test_earlier_noise_about_connections_does_not_excuse_a_killed_rank() -> None:
    found = diagnosis.of_rank(2, code=-9, ended_ns=1, tail="Connection reset by peer", record=None)
    assert (found.failure_class, found.exit_code, found.type) == ("Signal", 137, "SIGKILL")


def test_a_rank_killed_for_memory_says_so() -> None:
    found = diagnosis.of_rank(2, code=-9, ended_ns=1, tail="", record=None, oom=True)
    assert found.type == "OOMKilled"
    assert "memory limit" in found.message


@pytest.mark.parametrize(
    ("kinds", "chosen"),
    [
        ([("PeerLost", 1), ("Exception", 9)], 1),
        ([("Stopped", 1), ("PeerLost", 9)], 1),
        ([("Exit", 5), ("Signal", 3), ("Config", 4)], 1),
        ([("Exception", 7), ("Stopped", 1)], 0),
    ],
)
def test_the_first_failure_is_chosen_by_kind_then_time(kinds: list[tuple[str, int]], chosen: int) -> None:
    failures = [Failure(kind, "", rank=rank, time_ns=when) for rank, (kind, when) in enumerate(kinds)]
    found = first(failures)
    assert found is not None
    assert found.rank == chosen


def test_torchelastics_record_is_read_when_the_hooks_left_none(tmp_path: Path) -> None:
    extra = {"py_callstack": "Traceback…\nValueError: x", "timestamp": "17"}
    error = {"message": {"message": "ValueError: x", "extraInfo": extra}}
    (tmp_path / "torchelastic_error.json").write_text(json.dumps(error))
    record = Raised(str(tmp_path), 1).explanation(1, ended_ns=1, stopped_ns=0)
    assert record is not None
    found = diagnosis.of_rank(0, code=1, ended_ns=1, tail="", record=record.data)
    assert (found.failure_class, found.type, found.time_ns) == ("Exception", "ValueError", 17 * 10**9)


@pytest.mark.parametrize("timestamp", ["\xb2", "9" * 5000, "-1", "", None, [1]])
def test_a_time_in_torchelastics_record_that_is_none_costs_the_record_nothing_else(
    tmp_path: Path, timestamp: object
) -> None:
    error = {"message": {"message": "ValueError: x", "extraInfo": {"timestamp": timestamp}}}
    (tmp_path / "torchelastic_error.json").write_text(json.dumps(error))
    record = Raised(str(tmp_path), 1).explanation(1, ended_ns=1, stopped_ns=0)
    assert record is not None
    assert (record.data["type"], record.time_ns) == ("ValueError", 0)


def write_steps(
    folder: Path, step: int, total: int = 0, *, last: int = 0, first: int = 0, epoch: float = math.nan
) -> None:
    (folder / "steps.bin").write_bytes(
        struct.pack("<8sQQQQdQQ", b"FTJSTEP1", step, total, last, first, epoch, 0, 0)
    )


def test_steps_give_progress_and_pace(tmp_path: Path) -> None:
    reader = Reader(str(tmp_path))
    assert not reader.read().is_known
    write_steps(tmp_path, 11, 100, last=2 * 10**9, first=10**9)
    told = {"step": 11, "totalSteps": 100, "stepSeconds": 0.1, "timeNs": 2 * 10**9, "firstNs": 10**9}
    assert reader.read().as_json() == told
    write_steps(tmp_path, 21, 100, last=7 * 10**9, first=10**9, epoch=1.5)
    found = reader.read()
    assert (found.step_seconds, found.epoch) == (0.5, 1.5)


def test_the_script_wins_over_the_hooks_and_nonsense_is_dropped(tmp_path: Path) -> None:
    write_steps(tmp_path, 11, 100, last=2, first=1, epoch=1.0)
    (tmp_path / "metrics.json").write_text('{"loss": NaN, "lr": 0.1, "acc": 0.5, "ok": true, "big": 1e999}')
    (tmp_path / "progress.jsonl").write_bytes(
        b'{"step": 5, "metrics": {"acc": 0.75}}\nnot json\n[]\n\xff\xfe\n{"step": -1, "epoch": Infinity}\n'
        b'{"step": true, "totalSteps": 1e3}\n{"unknown": 1}\n{"step": 6, "epoch'
    )
    reader = Reader(str(tmp_path))
    found = reader.read()
    assert (found.step, found.total_steps, found.epoch) == (5, 100, 1.0)
    assert found.metrics == {"lr": 0.1, "acc": 0.75}
    with (tmp_path / "progress.jsonl").open("ab") as file:
        file.write(b'": 2}\n')
    found = reader.read()
    assert (found.step, found.epoch) == (6, 2.0)


def test_a_flood_of_lines_is_read_from_its_end(tmp_path: Path) -> None:
    (tmp_path / "progress.jsonl").write_bytes(b'{"step": 1}\n' * 300_000 + b'{"step": 2}\n')
    assert Reader(str(tmp_path)).read().step == 2


@pytest.mark.parametrize("content", [b"", b"FTJSTEP1", b"x" * 64, bytes(64)])
def test_steps_that_are_not_whole_are_no_progress(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "steps.bin").write_bytes(content)
    assert not Reader(str(tmp_path)).read().is_known


def test_a_message_too_large_in_every_part_still_fits() -> None:
    data = termination_log.encode(
        {
            "version": 1,
            "state": "Failed",
            "failure": {"rank": 1, "class": "Exception", "message": "漢" * 9000 + "end"},
            "progress": {"step": 1, "metrics": {f"metric-{i}": 0.123456789 for i in range(32)}},
            "captures": {f"s{i}": list(range(100)) for i in range(50)},
            "notes": ["n" * 500] * 8,
        }
    )
    assert len(data) <= 4096
    found = json.loads(data)
    assert found["failure"]["message"].endswith("end")
    assert found["progress"]["step"] == 1


def report(state: str = "Waiting", **more: Any) -> dict[str, Any]:
    return {
        "attempt": 0,
        "life": "a",
        "sequence": 1,
        "state": state,
        "ranks": [{"rank": 1, "state": state}],
        **more,
    }


def test_an_agent_that_vanished_while_waiting_does_not_let_the_others_start() -> None:
    book = Book(parse(json.dumps(plan(agents=3, contactTimeoutSeconds=30))), now=0)
    book.hear(("worker", 0), report(), 0)
    book.hear(("worker", 1), report(), 0)
    book.hear(("worker", 0), report(sequence=2), 40)
    book.hear(("worker", 2), report(), 40)
    assert book.command == "Wait"
    book.hear(("worker", 1), report(life="its replacement"), 41)
    assert book.command == "Start"


def test_a_replaced_agent_cannot_join_ranks_that_run() -> None:
    book = Book(parse(json.dumps(plan(agents=1))), now=0)
    book.hear(("worker", 0), report(), 0)
    book.hear(("worker", 0), report(life="b"), 1)
    assert book.command == "Stop"


def test_an_overtaken_report_changes_nothing() -> None:
    book = Book(parse(json.dumps(plan(agents=2))), now=0)
    book.hear(("worker", 1), report("Running", sequence=5), 0)
    assert not book.hear(("worker", 1), report("Waiting", sequence=4), 0)
    assert book.members["worker", 1].state == "Running"


def test_steps_wake_nobody_and_states_do() -> None:
    book = Book(parse(json.dumps(plan(agents=2))), now=0)
    book.hear(("worker", 1), report("Running"), 0)
    versions = book.version, book.answer_version
    book.hear(("worker", 1), report("Running", sequence=2, progress={"rank": 1, "step": 9}), 1)
    assert (book.version, book.answer_version) == versions
    book.hear(("worker", 1), report("Succeeded", sequence=3), 1)
    assert (book.version > versions[0], book.answer_version) == (True, versions[1])


def test_a_better_reason_replaces_a_victims() -> None:
    book = Book(parse(json.dumps(plan(agents=2))), now=0)
    victim, culprit = Failure("PeerLost", "", rank=0, time_ns=1), Failure("Exit", "", rank=1, time_ns=2)
    book.hear(("worker", 0), report("Failed", failure=victim.as_json()), 0)
    book.hear(("worker", 1), report("Failed", failure=culprit.as_json()), 0)
    book.hear(("worker", 0), report("Failed", sequence=2, failure=victim.as_json()), 0)
    assert book.leader_state().failure == culprit


def victims(*heard: int, agents: int = 3) -> Book:
    """Return the book of a job in which rank 1 loses a peer at 10 s, and these agents say a word at 11."""
    book = Book(parse(json.dumps(plan(agents=agents, contactTimeoutSeconds=30))), now=0)
    for index in range(agents):
        book.hear(("worker", index), report("Running"), 5)
    victim = Failure("PeerLost", "", rank=1, time_ns=1).as_json()
    version = book.answer_version
    book.hear(("worker", 1), report("Failed", sequence=2, failure=victim), 10)
    assert (book.command, book.answer_version) == ("Start", version + 1), "all are asked"
    for index in heard:
        book.hear(("worker", index), report("Running", sequence=2, seen=version), 11)  # was on its way
        assert book.command == "Start"
        book.hear(("worker", index), report("Running", sequence=2, seen=version + 1), 11)
    return book


def test_a_victim_is_believed_once_every_agent_has_shown_that_it_is_there() -> None:
    book = victims(2)
    assert (book.command, book.leader_state().failure) == ("Stop", Failure("PeerLost", "", rank=1, time_ns=1))


def test_an_agent_that_owes_a_word_when_ranks_have_lost_a_peer_is_out_of_contact() -> None:
    book = victims(2, agents=4)
    assert book.command == "Start"
    assert book.lost(11) is None
    assert book.next_look(11) == 20
    assert book.lost(19) is None
    found = book.lost(20)
    assert found is not None
    assert found.is_without_contact
    assert "no word from worker-3 for 15 s" in found.message


def test_the_culprit_s_word_ends_the_attempt_whoever_is_silent() -> None:
    book = victims()
    culprit = Failure("Exit", "", rank=2, time_ns=2)
    book.hear(("worker", 2), report("Failed", sequence=2, failure=culprit.as_json()), 11)
    assert (book.command, book.leader_state().failure) == ("Stop", culprit)


def test_more_agents_than_planned_are_refused() -> None:
    book = Book(parse(json.dumps(plan(agents=1))), now=0)
    book.hear(("worker", 0), report(), 0)
    with pytest.raises(RefusedError, match="worker-7"):
        book.hear(("worker", 7), report(), 0)


def test_control_groups_of_both_versions_are_read(tmp_path: Path) -> None:
    one, two = tmp_path / "v1", tmp_path / "v2"
    (one / "cpuacct").mkdir(parents=True)
    (one / "memory/pod").mkdir(parents=True)
    (one / "cpuacct/cpuacct.usage").write_text("2500000000\n")
    (one / "memory/pod/memory.usage_in_bytes").write_text("4096\n")
    (one / "memory/pod/memory.oom_control").write_text("oom_kill_disable 0\noom_kill 3\n")
    two.mkdir()
    (two / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (two / "memory.current").write_text("8192\n")
    (two / "memory.events").write_text("oom 4\noom_kill 2\n")
    (tmp_path / "m1").write_text("4:memory:/pod\n2:cpu,cpuacct:/not/mounted\n")
    (tmp_path / "m2").write_text("0::/\n")
    first = linux.Cgroup(str(one), str(tmp_path / "m1"))
    assert (first.sample(), first.oom_kills()) == ({"cpuSeconds": 2.5, "memoryBytes": 4096}, 3)
    second = linux.Cgroup(str(two), str(tmp_path / "m2"))
    assert (second.sample(), second.oom_kills()) == ({"cpuSeconds": 1.5, "memoryBytes": 8192}, 2)
    assert linux.Cgroup(str(tmp_path / "none"), str(tmp_path / "none")).sample() == {}


def test_usage_counts_this_process() -> None:
    used = linux.usage(linux.descendants(os.getpid(), linux.children()))
    assert used.cpu_seconds > 0
    assert used.rss_bytes > 1 << 20
    assert used.threads >= 1


def test_what_reads_ahead_beside_a_graph_is_not_counted_as_the_graphs() -> None:
    ready, over = threading.Barrier(3), threading.Event()

    def work(name: str, seconds: float) -> None:
        tid = threading.get_native_id()
        Path(f"/proc/self/task/{tid}/comm").write_text(name)
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass
        ready.wait()
        over.wait()

    pid = os.getpid()
    assert linux.graph_threads(pid) == []
    threads = [
        threading.Thread(target=work, args=each) for each in (("tf_Compute", 0.05), ("reads_ahead", 0.5))
    ]
    for each in threads:
        each.start()
    ready.wait()
    found = linux.graph_threads(pid)
    assert set(found) == {pid, threads[0].native_id}
    own = linux.threads_seconds(pid, [pid])
    assert 0.04 < linux.threads_seconds(pid, found) - own < 0.45
    over.set()
    for each in threads:
        each.join()
    assert linux.threads_seconds(pid, found) > 0  # without the one that has ended
    assert linux.graph_threads(2**22 + 1) == []


def test_the_loopback_is_lo() -> None:
    assert linux.interface_of("127.0.0.1", "127.0.0.1") == "lo"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(OPERATOR)))
def test_the_sources_are_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    called = {
        (getattr(node.func, "id", getattr(node.func, "attr", "")), word.arg)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
    }
    newer = {("zip", "strict"), ("dataclass", "slots"), ("dataclass", "kw_only"), ("field", "kw_only")}
    assert not called & newer
    unions = any(isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) for node in ast.walk(tree))
    assert not unions or "from __future__ import annotations" in path.read_text()


def test_the_sources_import_only_the_standard_library() -> None:
    for path in (path for path in SOURCES if "hooks" not in path.parts):
        for node in ast.walk(ast.parse(Path(path).read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            tops = {name.split(".")[0] for name in names}
            # Horovod is imported by the children alone, which run in the trainer's Python.
            child = path.name in {"horovod_store.py", "horovod_elastic_driver.py"}
            allowed = {"ftjob_agent", "ftjob_diagnosis", "ftjob_protocol"} | ({"horovod"} if child else set())
            assert tops <= set(sys.stdlib_module_names) | allowed, path


@pytest.mark.parametrize(
    ("address", "shown"),
    [("10.0.0.7", "10.0.0.7 10.0.0.7:21"), ("fd00::7", "fd00::7 [fd00::7]:21")],
)
def test_an_address_before_a_port_is_one_whatever_its_family(address: str, shown: str) -> None:
    ranks = [{"rank": 0, "localRank": 0, "env": {"AT": "@LEADER_IP@ @LEADER_IP@:21"}}]
    config = parse(json.dumps(plan(ranks=ranks)))
    assert environment.of_rank(config, config.ranks[0], {}, (address, "eth0"))["AT"] == shown


TPU_HOST = {"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "a,b", "MEGASCALE_SLICE_ID": "0"}


@pytest.mark.parametrize(
    ("container", "found"),
    [
        ({}, TPU_HOST),
        ({"TPU_WORKER_ID": "3", "TPU_WORKER_HOSTNAMES": "c,d"},
         {"TPU_WORKER_ID": "3", "TPU_WORKER_HOSTNAMES": "c,d", "MEGASCALE_SLICE_ID": "0"}),
        ({"TPU_WORKER_ID": "3"}, {"TPU_WORKER_ID": "3", "MEGASCALE_SLICE_ID": "0"}),
    ],
    ids=["no platform", "the platform's own", "half of it"],
)  # fmt: skip
def test_what_the_platform_has_set_is_left_alone(container: dict[str, str], found: dict[str, str]) -> None:
    ranks = [{"rank": 0, "localRank": 0, "env": TPU_HOST}]
    unless_set = ["TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES"]
    config = parse(json.dumps(plan(ranks=ranks, unlessSet=unless_set, identity=["MEGASCALE_SLICE_ID"])))
    check_identity(config, container)
    env = environment.of_rank(config, config.ranks[0], container, ("10.0.0.7", "eth0"))
    assert {name: env[name] for name in TPU_HOST if name in env} == found


@pytest.mark.parametrize(
    ("ranks", "planned", "container", "threads"),
    [
        (1, {}, {}, None),
        (2, {}, {}, "4"),
        (16, {}, {}, "1"),
        (2, {"OMP_NUM_THREADS": "2"}, {}, "2"),
        (2, {}, {"OMP_NUM_THREADS": "7"}, "7"),
        (2, {"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "7"}, "7"),
        (1, {"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": ""}, ""),
    ],
    ids=[
        "one rank is its framework's affair",
        "shared",
        "too many ranks",
        "the pod's limit",
        "the user's",
        "the user's before the pod's limit",
        "none, says the user",
    ],
)
def test_ranks_of_a_pod_share_its_cores(
    monkeypatch: pytest.MonkeyPatch,
    ranks: int,
    planned: dict[str, str],
    container: dict[str, str],
    threads: str | None,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    told = [{"rank": rank, "localRank": rank, "env": planned} for rank in range(ranks)]
    config = parse(json.dumps(plan(ranks=told, worldSize=ranks)))
    env = environment.of_rank(config, config.ranks[0], container, ("10.0.0.7", "eth0"))
    assert env.get("OMP_NUM_THREADS") == threads


@pytest.mark.parametrize(
    ("uid", "container", "user"),
    [(0, {}, None), (54321, {}, "uid54321"), (54321, {"USER": "ada"}, "ada")],
    ids=["the image has one", "none", "the user's"],
)
def test_a_rank_has_a_name_of_its_user(
    monkeypatch: pytest.MonkeyPatch, uid: int, container: dict[str, str], user: str | None
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: uid)
    config = parse(json.dumps(plan()))
    env = environment.of_rank(config, config.ranks[0], container, ("10.0.0.7", "eth0"))
    assert env.get("USER") == user


@pytest.mark.parametrize(("profiling", "expected"), [(None, None), ("OnDemand", "1"), ("Scheduled", "1")])
def test_steps_are_measured_unless_profiling_is_off(profiling: str | None, expected: str | None) -> None:
    told = {"mode": profiling, "schedule": {}, "ranks": [], "tools": [], "options": {}} if profiling else None
    config = parse(json.dumps(plan(profiling=told)))
    env = environment.of_rank(config, config.ranks[0], {}, ("10.0.0.7", "eth0"))
    assert env.get("FTJOB_CLOCK") == expected


def test_a_worker_that_is_placed_after_eleven_minutes_is_waited_for() -> None:
    late, two = 660.0, [("worker", 0), ("worker", 1)]
    document = plan(agents=2) | {"startTimeoutSeconds": None}
    config = parse(json.dumps(document))
    book = Book(config, now=0)
    for second in range(int(late)):
        book.hear(two[0], report(sequence=second), second)
        assert book.lost(second) is None
        assert second < book.next_look(second) <= second + 60
    assert book.leader_state().absent == ["worker-1"]
    other = Client(Loop(), parse(json.dumps(document | {"index": 1})), "a token")
    now = time.monotonic()
    assert other.trouble(now + late) is None
    assert now + late < other.next_look(now + late) <= now + late + 60
    book.hear(two[1], report(), late)
    assert book.command == "Start"
    assert book.leader_state().absent == ()


def test_after_a_lost_answer_the_leader_is_asked_for_one_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds an answer without news for so long that the contact would be lost by then."""
    asked: list[dict[str, Any]] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while len(asked) < 4:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as stream:
                length = 0
                while (line := stream.readline().strip()) != b"":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split()[1])
                asked.append(json.loads(stream.read(length)))
                if len(asked) in {1, 3}:  # else the connection ends without an answer
                    answer = json.dumps({"command": "Wait", "version": 7}).encode()
                    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(answer)}\r\n\r\n"
                    stream.write(head.encode() + answer)

    def rest(_seconds: float) -> None:
        if len(asked) == 4:
            raise SystemExit

    def send(connection: http.client.HTTPConnection, _sender: object, *request: Any) -> None:
        connection.request(*request)

    def receive(connection: http.client.HTTPConnection, *_signed: object) -> tuple[int, bytes]:
        answer = connection.getresponse()
        return answer.status, answer.read()

    monkeypatch.setattr(client_module, "greet", lambda *_: None)
    monkeypatch.setattr(client_module, "send", send)
    monkeypatch.setattr(client_module, "receive", receive)
    port = listener.getsockname()[1]
    client = Client(Loop(), parse(json.dumps(plan(index=1, agents=2, port=port))), "a token")
    monkeypatch.setattr(client, "_rest", rest)
    with listener:
        server = threading.Thread(target=serve)
        server.start()
        client._message = report()
        with pytest.raises(SystemExit):
            client._run()
        server.join()
    assert [message["seen"] for message in asked] == [0, 7, 0, 7]


def test_who_is_silent_is_named_with_its_host() -> None:
    book = Book(parse(json.dumps(plan(agents=2, contactTimeoutSeconds=30))), now=0)
    book.hear(("worker", 0), report(host="pod digits-worker-0-0 on node-7"), 0)
    book.hear(("worker", 1), report(host="pod digits-worker-0-1 on node-8"), 0)
    assert book.answer(("worker", 1))["host"] == "pod digits-worker-0-0 on node-7"
    book.hear(("worker", 0), report(sequence=2), 30)
    found = book.lost(30)
    assert found is not None
    assert found.message == "no word from worker-1 (pod digits-worker-0-1 on node-8) for 30 s"


def test_absent_peers_are_named_by_role() -> None:
    roles = {"chief": 1, "worker": 2, "ps": 1}
    config = parse(json.dumps(plan(agents=4, roles=roles, role="chief", startTimeoutSeconds=10)))
    book = Book(config, now=0)
    for role in ("chief", "ps"):
        book.hear((role, 0), {"attempt": 0, "life": role, "sequence": 0, "state": "Waiting"}, now=9)
    found = book.lost(now=10)
    assert found is not None
    assert found.message.startswith("peers absent: worker-0, worker-1; ")


def test_the_output_of_a_rank_that_has_ended_a_while_ago_is_not_waited_for(tmp_path: Path) -> None:
    """Of many ranks that ended together each would hold up the agent's loop as long as the first."""
    waited: list[float] = []

    class HeldOpen:
        tail = unfinished = b""

        def join(self, seconds: float) -> None:
            waited.append(seconds)

    process = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(3)"])
    process.wait()
    rank = Rank(RankSpec(0, 0, {}), str(tmp_path), process, RankLog(None))
    rank.pumps += [cast("Pump", HeldOpen()), cast("Pump", HeldOpen())]
    failure = rank.failure()
    assert failure is not None
    assert failure.exit_code == 3
    assert waited == [0.0, 0.0]


@pytest.mark.parametrize(
    ("code", "name"), [(137, "SIGKILL"), (139, "SIGSEGV"), (134, "SIGABRT"), (-9, "SIGKILL")]
)
def test_the_code_by_which_a_shell_tells_of_a_signal_is_read_as_the_signal(code: int, name: str) -> None:
    found = diagnosis.of_rank(0, code=code, ended_ns=1, tail="", record=None)
    assert (found.failure_class, found.type) == ("Signal", name)
    assert found.exit_code == (code if code > 0 else 128 - code)


@pytest.mark.parametrize("code", [1, 128, 160, 255])
def test_other_codes_are_no_signals(code: int) -> None:
    found = diagnosis.of_rank(0, code=code, ended_ns=1, tail="", record=None)
    assert (found.failure_class, found.exit_code) == ("Exit", code)
