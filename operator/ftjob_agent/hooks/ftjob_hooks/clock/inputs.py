"""How long a script waits for its data: in the iterators of torch's DataLoader and of TensorFlow."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Callable

from .recorder import current

if TYPE_CHECKING:
    from types import ModuleType


def hook_torch(module: ModuleType) -> None:
    """Watch the base of all iterators of a DataLoader."""
    _watch(module, "_BaseDataLoaderIter", "__next__")


def hook_tensorflow(module: ModuleType) -> None:
    """Watch what all eager iterators of a dataset end in."""
    _watch(module, "OwnedIterator", "_next_internal")


def hook_distributed(module: ModuleType) -> None:
    """Watch the iterators of a strategy's datasets."""
    _watch(module, "DistributedIteratorBase", "__next__")


def _watch(module: Any, name: str, method: str) -> None:
    owner: Any = getattr(module, name)
    setattr(owner, method, _timed(getattr(owner, method)))


def _timed(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def following(self: Any) -> Any:
        began = current.input_begins()
        try:
            return original(self)
        finally:
            current.input_ends(began)

    return following
