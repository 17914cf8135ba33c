"""A program with one thing wrong: `MODULE MUTANT ARGS...`. The program itself must notice each of these."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

MODULE: Any = import_module(f"ftjob_workloads.{sys.argv.pop(1)}")
attend: Any = getattr(MODULE, "attend", None)


def unscaled_scores() -> None:
    MODULE.attend = lambda query, *rest, **named: attend(2 * query, *rest, **named)


def padding_seen() -> None:
    MODULE.padding_mask = lambda present: torch.ones_like(present)[:, None, None, :]


def future_seen() -> None:
    MODULE.causal_mask = lambda length, device: torch.ones(length, length, device=device).triu().bool()


def forgotten_term() -> None:
    checks: Any = import_module("ftjob_workloads.autograd_checks")
    checks.Swish.backward = checks.ForgetfulSwish.backward


def one_depth() -> None:
    sys.argv += ["--sure", "1.1"]  # nobody is ever so sure


def no_exchange() -> None:
    MODULE.DistributedDataParallel = lambda model: model


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant
    for mutant in (unscaled_scores, padding_seen, future_seen, forgotten_term, one_depth, no_exchange)
}

if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    sys.exit(MODULE.main())
