"""The image_folder program, which gets a SIGTERM during the step that the first argument names.

The signal comes from inside, so that the test knows the step; the program can't tell the difference. Like the
agent's it goes to the whole process group: the processes that read files get it too.
"""

import os
import signal
import sys

from ftjob_workloads import image_folder

STEP = int(sys.argv.pop(1))
learn = image_folder.Trainer.learn


def learn_until(trainer: image_folder.Trainer, *args: object) -> tuple[float, bool]:
    if trainer.step == STEP - 1:
        os.killpg(0, signal.SIGTERM)
    return learn(trainer, *args)  # type: ignore[arg-type]


if __name__ == "__main__":
    os.setpgrp()
    image_folder.Trainer.learn = learn_until  # type: ignore[assignment,method-assign]
    sys.exit(image_folder.main())
