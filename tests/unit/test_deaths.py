"""The catalogue of known ways to die: each row knows its messages, and plain bugs get no hint."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, PodBuilder, decide, job, observed, pod, refusal
from support.recorded_deaths import RECORDED, Recorded

from ftjob.cli.words import failure_text
from ftjob.deaths.catalogue import ROWS
from ftjob.deaths.explain import HINT_BYTES, TEXT_CHARACTERS, explain, explain_waiting
from ftjob.deaths.row import Row, Where
from ftjob.models.status import Failure
from ftjob.plan.observed.pod import read_pod
from ftjob.plan.observed.state import RefusalKind

codes, parser = (import_module(f"re._{name}") for name in ("constants", "parser"))
BY_NAME = {row.name: row for row in ROWS}
FRAMES = (
    'Traceback (most recent call last):\n  File "train.py", line 7, in <module>\n    main()\n    ~~~~^^\n'
)


def hint_of(found: Recorded) -> str | None:
    row = BY_NAME[found.row]
    if row.where is Where.WAITING:
        return explain_waiting(found.text)
    is_raised = found.reason in {"Exception", "PeerLost"}
    message = f"{FRAMES}{found.text}" if is_raised else found.text
    return explain(reason=found.reason, exit_code=found.exit_code, message=message)


@pytest.mark.parametrize("found", RECORDED, ids=lambda found: found.row)
def test_a_row_knows_its_message_and_says_its_names_and_sizes(found: Recorded) -> None:
    row, hint = BY_NAME[found.row], hint_of(found)
    assert hint is not None, row.name
    own = (row.cause, row.remedy, row.link)
    assert all(re.split(r"[\[{]", text)[0] in hint for text in own), f"another row is faster: {hint}"
    assert all(text in hint for text in found.shows), hint
    assert not re.search(r"[{}]", hint.replace("{gpu: only}", "")), hint
    assert not re.search(r"\.[.,;:]|\. [a-z]", hint), hint
    assert len(hint.encode()) <= HINT_BYTES


def test_every_row_has_a_message_whose_source_is_named() -> None:
    assert {found.row for found in RECORDED} == set(BY_NAME)
    assert len(BY_NAME) == len(ROWS) >= 40
    assert all(found.source for found in RECORDED)


PLAIN_BUGS = (
    "NameError: name 'modle' is not defined",
    "AssertionError",
    "AssertionError: expected 10 classes, found 9",
    "KeyError: 'image'",
    "KeyError: 'RANKING'",
    "IndexError: list index out of range",
    "TypeError: forward() missing 1 required positional argument: 'x'",
    "AttributeError: 'Trainer' object has no attribute 'fti'",
    "AttributeError: 'Variable' object has no attribute 'reference'",
    "ZeroDivisionError: division by zero",
    "ValueError: could not convert string to float: 'a'",
    "RuntimeError: memory of the replay buffer is inconsistent",
    "RuntimeError: out of memory slots in the agent's episodic memory",
    "RuntimeError: training failed",
    "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x3 and 4x3)",
    "RecursionError: maximum recursion depth exceeded",
    "FileNotFoundError: [Errno 2] No such file or directory: '/data/train.csv'",
    "UnboundLocalError: cannot access local variable 'loss' where it is not associated with a value",
    "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    "NotImplementedError: subclasses say how",
    "StopIteration",
    "SyntaxError: invalid syntax",
    "my.project.DataError: the connection table has no rows about banks",
    "ImportError: cannot import name 'Trainer' from 'mine.train' (/app/mine/train.py)",
)


@pytest.mark.parametrize("text", PLAIN_BUGS)
def test_a_plain_bug_gets_no_hint(text: str) -> None:
    told: dict[str, Any] = {"reason": "Exception", "exit_code": 1}
    assert explain(**told, message=f"{FRAMES}{text}") is None
    warned = "W: worker 1 was slow, memory 81 % used\nlr too high? loss=nan possible\n"
    assert explain(**told, message=f"{FRAMES}{text}", log_tail=warned) is None


@pytest.mark.parametrize("code", [1, 2, 3, 42])
def test_a_plain_exit_gets_no_hint(code: int) -> None:
    said = "step 100, loss 0.3\nvalidation failed: accuracy 0.1 is below 0.9"
    assert explain(reason="Exit", exit_code=code, message=said) is None
    quiet = f"rank 0 exited with code {code} and said nothing on stderr"
    assert explain(reason="Exit", exit_code=code, message=quiet) is None


def test_what_an_exception_was_raised_from_counts_and_what_was_handled_before_does_not() -> None:
    first = f"{FRAMES}ModuleNotFoundError: No module named 'apex'\n\n"
    own = f"{FRAMES}RuntimeError: set-up failed"
    cause = f"{first}The above exception was the direct cause of the following exception:\n\n{own}"
    handled = f"{first}During handling of the above exception, another exception occurred:\n\n{own}"
    told: dict[str, Any] = {"reason": "Exception", "exit_code": 1}
    assert "apex" in (explain(**told, message=cause) or "")
    assert explain(**told, message=handled) is None


def test_a_bug_after_a_librarys_warning_is_not_explained_by_it() -> None:
    log = "NCCL WARN Bootstrap : no socket interface found"
    told: dict[str, Any] = {"reason": "Exception", "exit_code": 1, "log_tail": log}
    assert explain(**told, message=f"{FRAMES}KeyError: 'image'") is None
    assert explain(**told, message=f"{FRAMES}torch.distributed.DistBackendError: NCCL error") is not None


def test_words_of_another_process_inside_an_exception_are_not_searched_in_its_source_lines() -> None:
    text = (
        "RuntimeError: Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent "
        "call last):\n"
        '  File "/app/data.py", line 3, in __getitem__\n    raise ValueError("x")  # CUDA_HOME environment '
        "variable is "
        "not set\nValueError: x"
    )
    assert explain(reason="Exception", exit_code=1, message=f"{FRAMES}{text}") is None


# Stranger's text.


def repeats(tree: Any) -> list[tuple[int, Any]]:
    """Return the repetitions of a parsed pattern: how often each is allowed, and what is in it."""
    found = []
    for operator, value in tree:
        if operator in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT}:
            found.append((value[1], value[2]))
            found += repeats(value[2])
        elif operator is codes.SUBPATTERN:
            found += repeats(value[3])
        elif operator is codes.BRANCH:
            found += [each for branch in value[1] for each in repeats(branch)]
        elif operator in {codes.ASSERT, codes.ASSERT_NOT}:
            found += repeats(value[1])
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_pattern_can_take_long(row: Row) -> None:
    """Each repetition is bounded, and none of many is inside another of many."""
    for most, inner in repeats(parser.parse(row.pattern)):
        assert most != codes.MAXREPEAT, row.pattern
        if most > 6:
            assert all(count == 1 for count, _ in repeats(inner)), row.pattern


@pytest.mark.parametrize("found", RECORDED, ids=lambda found: found.row)
def test_a_message_that_is_repeated_without_its_end_is_read_all_the_same(found: Recorded) -> None:
    words = found.text.split()
    for size in (1, 3, len(words) - 1):
        part = " ".join(words[: max(1, size)])
        text = (part * (TEXT_CHARACTERS // len(part) + 1))[:TEXT_CHARACTERS]
        explain(reason=found.reason, exit_code=found.exit_code, message=text, log_tail=text)
        explain_waiting(text)


@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from(RECORDED))
def test_any_text_around_a_message_gives_a_bounded_hint_or_none(
    before: str, after: str, found: Recorded
) -> None:
    text = f"{before}{found.text}{after}"
    for hint in (
        explain(reason=found.reason, exit_code=found.exit_code, message=text, log_tail=before),
        explain_waiting(text),
    ):
        assert hint is None or (len(hint.encode()) <= HINT_BYTES and "\n" not in hint and "\x1b" not in hint)


def test_names_in_a_hint_hide_and_forge_nothing() -> None:
    text = "FileNotFoundError: \x1b[2K\u202e OSError: [Errno 28] No space left on device: '/a\x1b[31m\u202eb'"
    hint = explain(reason="Exception", exit_code=1, message=f"{FRAMES}{text}")
    assert hint is not None
    assert "/ab" in hint


# Where it is told.


def test_a_failed_job_says_it_in_its_status_and_keeps_the_original_words() -> None:
    text = f"{FRAMES}ModuleNotFoundError: No module named 'apex'"
    seen = observed(pod(0).failed(text=text))
    status = job().running().after(decide(job().running(), seen), seen).status
    assert status.failure is not None
    assert status.failure.message == text
    assert "apex" in (status.failure.hint or "")
    assert all("apex is not installed" not in condition.message for condition in status.conditions)


def test_a_restart_keeps_the_hint_of_the_attempt_that_failed() -> None:
    wanted = job().with_spec(restart={"limit": 1}).running()
    seen = observed(pod(0).failed(text=f"{FRAMES}OSError: [Errno 28] No space left on device"))
    status = wanted.after(decide(wanted, seen), seen).status
    assert status.failure is not None
    assert "volume is full" in (status.failure.hint or "")


def test_a_job_that_cant_start_says_it_behind_kubernetes_words() -> None:
    words = 'ImagePullBackOff: Back-off pulling image "nowhere/x:1"'
    seen = observed(pod(0).waiting(words))
    status = job().started().after(decide(job().started(), seen), seen).status
    [running] = [c for c in status.conditions if c.type.value == "Running"]
    assert running.reason == "ImagePullBackOff"
    assert running.message.startswith('pod digits-worker-0-0: Back-off pulling image "nowhere/x:1"; ')
    assert "The node can't pull the image nowhere/x:1" in running.message


def test_a_quota_that_refuses_pods_is_explained_behind_its_words() -> None:
    words = 'pods "x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2'
    refused = refusal(RefusalKind.FORBIDDEN)
    seen = observed(
        refused=type(refused)(refused.kind, refused.object_kind, refused.object_name, words, NOW + 5)
    )
    status = job().after(decide(job(), seen), seen).status
    assert status.conditions[0].message.startswith(
        f"Pod digits-worker-0-0: {words}; The quota few has no room"
    )


def test_the_kubelets_words_on_an_eviction_come_into_the_failure_and_give_a_hint() -> None:
    words = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi."
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "TerminationByKubelet",
        "message": words,
    }
    status = {"phase": "Failed", "reason": "Evicted", "message": words}
    labels = {"ftjob.dev/role": "worker", "ftjob.dev/index": "0", "ftjob.dev/attempt": "0"}
    meta = {"name": "digits-worker-0-0", "uid": "1", "labels": labels}
    for given_status in (status | {"conditions": [condition]}, status):
        found = read_pod(
            {"metadata": meta, "spec": {}, "status": given_status}, trainer="trainer", seen=NOW - 60
        )
        assert found.words == words
        seen = observed(pod(0))
        seen = type(seen)(pods=(found,))
        failed = job().running().after(decide(job().running(), seen), seen).status.failure
        assert failed is not None
        assert failed.message.endswith(words)
        assert "The node ran low on memory" in (failed.hint or "")


def test_what_the_kubelet_says_of_a_pod_over_its_own_limit_is_told_though_it_is_no_disruption() -> None:
    words = "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi."
    ended = pod(0).failed(143, kind="Stopped", text="the pod was told to end (SIGTERM)").state
    seen = observed(PodBuilder(replace(ended, words=words)))
    failed = (
        job().running().after(decide(job().running(), seen, now=NOW + 99), seen, now=NOW + 99).status.failure
    )
    assert failed is not None
    assert failed.message == f"the pod was told to end (SIGTERM)\n{words}"
    assert "than its limit of 4Mi allows" in (failed.hint or "")


def test_the_summary_of_a_run_shows_the_hint_last_and_all_original_words() -> None:
    text = failure_text(
        Failure(rank=1, reason="Exception", message="KeyError: 'x'", log_tail="step 3", hint="Do this. See x")
    )
    shown = ["rank 1 failed: Exception", "  KeyError: 'x'", "its last lines:", "  | step 3"]
    assert text.splitlines() == [*shown, "hint: Do this. See x"]
