"""One job's trouble is that job's: it is said in an Event, and in the status of one that does not run."""

from typing import Any

import pytest
from support.control_fake import context, job_body

from ftjob.control import reconcile as module
from ftjob.control.reconcilers import MISTAKES, look_at
from ftjob.kube.resources import JOB
from ftjob.plan.decide import decide

KEY = ("default", "digits")


def make_a_mistake(job: Any, *_args: Any, **_more: Any) -> Any:
    if hasattr(job, "spec"):
        raise ValueError("a number of 5,000 digits")
    return decide(job, *_args, **_more)


async def test_a_job_that_makes_ftjob_raise_fails_by_name_and_goes_on_when_it_is_edited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx, kube, _ = context()
    monkeypatch.setattr(module, "decide", make_a_mistake)
    for _ in range(MISTAKES - 1):
        await look_at(KEY, ctx)
    assert not [call for call in kube.calls if call[0] == "patch_status"], "it may have been the moment"
    for _ in range(3):
        await look_at(KEY, ctx)
    assert [call[0] for call in kube.calls] == ["patch_status"], "once"
    status = kube.objects["FrameworkTrainingJob", "default", "digits"]["status"]
    failed = next(c for c in status["conditions"] if c["type"] == "Failed")
    assert (status["phase"], failed["reason"]) == ("Failed", "InvalidSpec")
    assert "ftjob can't handle it (ValueError('a number of 5,000 digits'))" in failed["message"]
    monkeypatch.setattr(module, "decide", decide)
    edited = job_body(status=status)
    edited["metadata"]["generation"] = 2
    ctx.cache.update(JOB, kube.put(edited))
    await look_at(KEY, ctx)
    assert ("create", "Pod", "digits-worker-0-0") in kube.calls


async def test_a_running_job_is_not_failed_by_our_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, kube, _ = context(job_body(status={"phase": "Running", "startTime": "2026-01-01T00:00:00Z"}))
    monkeypatch.setattr(module, "decide", make_a_mistake)
    for _ in range(MISTAKES + 2):
        await look_at(KEY, ctx)
    assert kube.calls == []
    event = ctx.events._backlog.get_nowait()
    assert (event["type"], event["reason"]) == ("Warning", "InternalError")


@pytest.mark.parametrize("installed", [True, False])
async def test_a_job_is_refused_for_want_of_a_kind_only_when_the_cluster_does_not_serve_it_by_now(
    installed: bool,
) -> None:
    """Volcano was installed a moment ago, and what is served is asked for once a minute."""
    body = job_body()
    body["spec"]["scheduling"] = {"gang": "Volcano"}
    ctx, kube, _ = context(body)
    if installed:
        kube.kinds.add(("scheduling.volcano.sh/v1beta1", "PodGroup"))
    await look_at(KEY, ctx)
    written = [call[0] for call in kube.calls if call[0] == "patch_status"]
    assert written == ([] if installed else ["patch_status"])
    assert ctx.discovery._wanted.is_set() == installed
