"""Why a rank failed: by its exit code, its last words, and the exception that it left on record."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from typing import Any, Mapping, Optional

from ftjob_protocol.failures import (
    TYPE_BYTES,
    Failure,
    FailureClass,
    FailureType,
    clip,
)
from ftjob_protocol.values.fields import count
from ftjob_protocol.values.text import clean

PEER_LOST_WORDS = (
    # Horovod: the exception of every rank but the one that failed, and the native core's words.
    r"HorovodInternalError",
    r"Collective ops (is|are) aborted",
    r"Horovod has been shut down",
    r"\[gloo\]|gloo::(IoException|EnforceNotMet)|gloo/transport",
    # torch.distributed: gloo, NCCL and the store.
    r"Connection closed by peer",
    r"Connection reset by peer",
    r"Broken pipe",
    r"ncclRemoteError|NCCL.*remote (process|error)|remote process exited or there was a network error",
    r"DistNetworkError|DistStoreError|TCPStore.*(recvValue|sendBytes|[Cc]onnection was closed)",
    # TensorFlow and JAX: gRPC and the coordination service.
    r"stopped sending heartbeats|(unhealthy|missed).*heartbeat|[Hh]eartbeat timeout",
    r"[Cc]oordination ?[Ss]ervice.*(error|fatal|unavailable|agent)|distributed service detected fatal errors",
    r"UnavailableError|UNAVAILABLE:|StatusCode\.UNAVAILABLE|[Ss]ocket closed",
    r"failed to connect to all addresses",
    r"AbortedError.*(worker|task|peer|collective)|Collective ops is aborted by",
)
_PEER_LOST = re.compile("|".join(f"(?:{words})" for words in PEER_LOST_WORDS))


def tells_of_lost_peer(text: str) -> bool:
    """Whether these last words say that another rank went away."""
    return _PEER_LOST.search(text) is not None


def of_rank(
    rank: int,
    *,
    code: Optional[int],
    ended_ns: int,
    tail: str,
    record: Optional[Mapping[str, Any]],
    oom: bool = False,
) -> Failure:
    """Say why a rank failed that was not told to stop.

    Parameters
    ----------
    code
        As `subprocess` has it: negative for a signal; None when the rank still hangs after its exception.
    tail
        The last that the rank wrote to stderr.
    record
        The rank's uncaught exception, if one was left.
    oom
        Whether the kernel has killed a process of this container for want of memory.
    """
    exit_code = 1 if code is None else 128 - code if code < 0 else code
    base = Failure(FailureClass.EXIT, "", rank=rank, time_ns=ended_ns, exit_code=exit_code)
    if record is not None:
        return _of_exception(base, record)
    words = "\n".join(tail.splitlines()[-40:]).strip()
    if code is not None and 128 < code < 128 + signal.SIGSYS + 1:
        code = 128 - code  # a shell says so of what it has waited for
    if code is not None and code < 0:
        name = _signal_name(-code)
        if code != -signal.SIGKILL and tells_of_lost_peer(words):
            return replace(base, failure_class=FailureClass.PEER_LOST, type=name, message=clip(words))
        if code == -signal.SIGKILL and oom:
            return replace(
                base,
                failure_class=FailureClass.SIGNAL,
                type=FailureType.OOM_KILLED,
                message=clip(
                    f"{words}\nrank {rank} was killed by the kernel: the trainer's memory limit is too low"
                ),
            )
        return replace(
            base,
            failure_class=FailureClass.SIGNAL,
            type=name,
            message=clip(f"{words}\nrank {rank} was killed by {name}"),
        )
    if tells_of_lost_peer(words):
        return replace(base, failure_class=FailureClass.PEER_LOST, message=clip(words))
    return replace(
        base, message=clip(words or f"rank {rank} exited with code {exit_code} and said nothing on stderr")
    )


def _of_exception(base: Failure, record: Mapping[str, Any]) -> Failure:
    name, text = str(record.get("type") or ""), str(record.get("message") or "")
    traceback = str(record.get("traceback") or f"{name}: {text}")
    time_ns = count(record.get("timeNs"))
    return replace(
        base,
        failure_class=FailureClass.PEER_LOST
        if tells_of_lost_peer(f"{name}: {text}\n{_raised(traceback)}")
        else FailureClass.EXCEPTION,
        type=clean(name, TYPE_BYTES),
        time_ns=time_ns or base.time_ns,
        message=clip(traceback.strip()),
    )


def _raised(traceback: str) -> str:
    """Return the lines of a traceback that name exceptions: an own one may be raised from a lost peer's."""
    return "\n".join(
        line for line in traceback.splitlines() if line[:1].isalpha() and not line.startswith("Traceback")
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
