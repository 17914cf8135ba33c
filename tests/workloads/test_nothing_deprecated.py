"""No program may make a deprecated call: the guard that every test of a program has can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workloads.conftest import Program


@pytest.mark.parametrize("module", ["__main__", "ftjob_workloads.digits", "ftjob_workloads.life"])
@pytest.mark.parametrize("category", ["DeprecationWarning", "FutureWarning"])
def test_a_deprecated_call_of_our_own_ends_the_program(
    start: Callable[..., Program], tmp_path: Path, category: str, module: str
) -> None:
    source = f"import warnings; warnings.warn_explicit('it is old', {category}, 'x.py', 1, {module!r})"
    program = start(tmp_path, "-c", source)
    assert program.wait() == 1
    assert f"{category}: it is old" in program.output()


def test_a_deprecation_that_a_framework_logs_is_found(start: Callable[..., Program], tmp_path: Path) -> None:
    program = start(tmp_path, "-c", "print('WARNING: f is deprecated')")
    with pytest.raises(AssertionError, match="f is deprecated"):
        program.finish()
