"""Run a hook right after a module of a framework was imported, without importing it ourselves."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as type checkers understand it, without the cost of `typing`
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Callable, Dict, Optional, Sequence

    Hook = Callable[[ModuleType], None]


class HookFinder:
    """A meta path finder that finds nothing new: it lets the others find, and wraps what their loader does.

    Parameters
    ----------
    hooks
        What to call, by the name of the module after whose execution it is called.
    """

    def __init__(self, hooks: Dict[str, Hook]) -> None:
        self._hooks = hooks

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        """Find the module as if we were not there; wrap its loader if the module has a hook."""
        hook = self._hooks.get(name)
        if hook is None:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _call_after(spec, hook)
                return spec
        return None


def install(hooks: Dict[str, Hook]) -> None:
    """Call each hook after its module was imported, or now if it is already there."""
    for name in list(hooks):
        module = sys.modules.get(name)
        if module is not None:
            _guarded(hooks.pop(name), module)
    sys.meta_path.insert(0, HookFinder(hooks))


def _call_after(spec: ModuleSpec, hook: Hook) -> None:
    loader = spec.loader
    if loader is None or not hasattr(loader, "exec_module"):
        return
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        _guarded(hook, module)

    try:
        # On the instance, so that its class, and with it inspect and pickle, see no difference.
        loader.exec_module = exec_module  # type: ignore[method-assign]
    except AttributeError:  # a loader with slots, or a class used as loader; nothing we know has one
        _note(f"{spec.name}: cannot hook its loader {loader!r}")


def _guarded(hook: Hook, module: ModuleType) -> None:
    try:
        hook(module)
    except Exception as error:
        _note(f"{module.__name__}: not hooked: {error!r}")


def _note(text: str) -> None:
    from . import notes

    notes.note(text)
