"""The mirrored_digits program, which gets a SIGTERM after the step that the first argument names.

The signal comes from inside, so that the test knows the step; the program can't tell the difference.
"""

import os
import signal
import sys

from ftjob_workloads import mirrored_digits

STEP = int(sys.argv.pop(1))


class Stopped(mirrored_digits.Keeper):
    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.step() == STEP:
            os.kill(os.getpid(), signal.SIGTERM)
        super().on_train_batch_end(batch, logs)


if __name__ == "__main__":
    mirrored_digits.Keeper = Stopped  # type: ignore[misc]
    sys.exit(mirrored_digits.main())
