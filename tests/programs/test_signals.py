"""Programs that get a signal, and what they do with it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from support.differential import Program, Send, same

if TYPE_CHECKING:
    from pathlib import Path

SAVES_AT_SIGTERM = """
import signal, sys, time

def save(number, frame):
    print("saving", flush=True)
    time.sleep(0.5)
    with open("checkpoint", "w") as file:
        file.write("whole")
    sys.exit(0)

signal.signal(signal.SIGTERM, save)
print("step 1", flush=True)
while True:
    time.sleep(0.1)
"""


def test_a_program_saves_at_sigterm(tmp_path: Path) -> None:
    outcome = same(
        Program(
            command=("python", "train.py"),
            files={"train.py": SAVES_AT_SIGTERM},
            send=Send(signal.SIGTERM, at="step 1"),
        ),
        tmp_path,
    )
    assert outcome.files["checkpoint"] == b"whole"
