"""torch trainings for `hook_modes.py`; each returns the number of its steps."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

# The first optimizer imports half of torch; once is enough.
torch.optim.SGD([torch.zeros(1)])


def _parts() -> tuple[Any, Any]:
    torch.set_num_threads(1)
    model = torch.nn.Linear(4, 1)
    return model, torch.rand(8, 4)


def _run(model: Any, x: Any, optimizer: Any) -> None:
    optimizer.zero_grad()
    model(x).pow(2).mean().backward()
    optimizer.step()


def plain() -> int:
    model, x = _parts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(37):
        _run(model, x, optimizer)
    return 37


def killed() -> int:
    """Die without any clean-up: what is in the mapped file stays."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return 37
    plain()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def two_optimizers() -> int:
    model, x = _parts()
    first, second = torch.optim.Adam(model.parameters()), torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(11):
        _run(model, x, first)
        _run(model, x, second)
    return 11


def the_first_is_used_up() -> int:
    """A warm-up of the head, then all of it with an optimizer that was there before, and the first again."""
    model, x = _parts()
    first, second = torch.optim.SGD(model.parameters(), lr=0.01), torch.optim.AdamW(model.parameters())
    for optimizer, steps in ((first, 8), (second, 10), (first, 6)):
        for _ in range(steps):
            _run(model, x, optimizer)
    return 24


def two_more_after_the_first() -> int:
    """The optimizers that follow alternate, and one of them skips some steps."""
    model, x = _parts()
    first, second, third = (torch.optim.SGD(model.parameters(), lr=0.01) for _ in range(3))
    for _ in range(4):
        _run(model, x, first)
    for step in range(9):
        _run(model, x, second)
        if step % 4 != 3:
            _run(model, x, third)
    return 13


def one_for_each_parameter() -> int:
    """Each steps as soon as its gradient is there, in the backward pass."""
    model, x = _parts()
    optimizers = {parameter: torch.optim.SGD([parameter], lr=0.01) for parameter in model.parameters()}
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda found: optimizers[found].step())
    for _ in range(7):
        model(x).pow(2).mean().backward()
        model.zero_grad()
    return 7


def gradients_that_overflow() -> int:
    """Gradient scaling does not call the optimizer for two of ten batches."""
    model, x = _parts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu")
    for batch in range(10):
        optimizer.zero_grad()
        scaler.scale(model(x * (float("inf") if batch in (0, 5) else 1)).mean()).backward()
        scaler.step(optimizer)
        scaler.update()
    return 8


def a_state_that_is_filled() -> int:
    """A step without a gradient makes the state that a checkpoint is loaded into."""
    model, x = _parts()
    optimizer = torch.optim.AdamW(model.parameters())
    get_optimizer_state_dict(model, optimizer)
    for _ in range(5):
        _run(model, x, optimizer)
    return 5


def accumulation() -> int:
    model, x = _parts()
    optimizer = torch.optim.AdamW(model.parameters())
    steps = 0
    for batch in range(24):
        model(x).pow(2).mean().backward()
        if batch % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
            steps += 1
    return steps


def closure() -> int:
    model, x = _parts()
    optimizer: Any = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def loss() -> Any:
        optimizer.zero_grad()
        value = model(x).pow(2).mean()
        value.backward()
        return value

    for _ in range(5):
        optimizer.step(loss)
    return 5


def a_step_that_raises() -> int:
    """A subclass calls its base's step, as Horovod's does, and a step that raises is tried again."""

    class Wrapped(torch.optim.SGD):
        broken = False

        def step(self, closure: Any = None) -> Any:
            if self.broken:
                raise RuntimeError("peer lost")
            return super().step(closure)

    model, x = _parts()
    optimizer = Wrapped(model.parameters(), lr=0.01)
    for number in range(9):
        optimizer.broken = number in (3, 4)
        try:
            _run(model, x, optimizer)
        except RuntimeError:
            continue
    return 7


def one_after_the_other() -> int:
    """A new model and optimizer for each fold of a cross-validation."""
    for _ in range(3):
        model, x = _parts()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(5):
            _run(model, x, optimizer)
    return 15


def helpers() -> int:
    """Data loading workers, a forked child and another Python that trains while we hold the count."""
    model, x = _parts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    data = torch.utils.data.TensorDataset(torch.rand(24, 4))
    steps = 0
    for (batch,) in torch.utils.data.DataLoader(data, batch_size=4, num_workers=1):
        _run(model, batch, optimizer)
        steps += 1
    pid = os.fork()
    if pid == 0:
        for _ in range(50):
            _run(model, x, optimizer)
        os._exit(0)
    os.waitpid(pid, 0)
    subprocess.run(
        [sys.executable, "-c", "import hook_modes_torch; hook_modes_torch.plain()"],
        check=True,
        cwd=Path(__file__).parent,
    )
    _run(model, x, optimizer)
    return steps + 1


def compiled() -> int:
    """`torch.compile` around the whole step, also where graph breaks are errors."""
    model, x = _parts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    @torch.compile(backend="eager")
    def step() -> None:
        optimizer.step()

    for _ in range(6):
        optimizer.zero_grad()
        model(x).pow(2).mean().backward()
        step()
    return 6
