"""In the operator of `burst.py`: counts what it signs and checks, and the processor time that takes."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUT = os.environ.get("FTJOB_BENCH_SIGNING", "")
EVERY_S = 1.0
used = {"requests": 0, "seconds": 0.0}


def counted(function: Callable[..., Any], requests: int) -> Callable[..., Any]:
    """Return it with its time added up."""

    def call(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            used["seconds"] += time.thread_time() - began
            used["requests"] += requests

    return call


def tell() -> None:
    """Write what was used so far, with all that the process has used."""
    while True:
        time.sleep(EVERY_S)
        part = Path(f"{OUT}.part")
        part.write_text(json.dumps({**used, "process": time.process_time()}))
        part.replace(OUT)


if OUT:
    from ftjob_protocol.signing.signature import Sender

    for name, requests in (("__init__", 0), ("sign", 1), ("check", 0)):
        setattr(Sender, name, counted(getattr(Sender, name), requests))
    threading.Thread(target=tell, daemon=True).start()
