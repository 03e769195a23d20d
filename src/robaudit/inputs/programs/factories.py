"""A user's own function as a model: the only way in which code is run that is not this package's."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from torch import nn

from robaudit.errors import RobauditError
from robaudit.places import expanded

#: Modules that the last factory imported from its own folder.
_neighbours: set[str] = set()


def call_factory(text: str) -> nn.Module:
    """The network that a user's own function makes; the only way in which a user's code is run.

    Raises:
        RobauditError: no such file, module or function, or it fails, or makes no module.

    """
    left, _, name = text.rpartition(":")
    try:
        module = _module(left)
        if not hasattr(module, name):
            raise FileNotFoundError(f"{left} has no {name}")
        factory: Callable[[], Any] = getattr(module, name)
        network = factory()
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise RobauditError(
            f"{text}: not found ({error}); pass FILE.py:FUNCTION or package.module:FUNCTION"
        ) from error
    except Exception as error:
        raise RobauditError(
            f"{text}: failed with {type(error).__name__}: {str(error)[:200]}; it is called without arguments"
        ) from error
    if not isinstance(network, nn.Module):
        raise RobauditError(f"{text}: returned {type(network).__name__}; expected a torch.nn.Module")
    return network


def _module(left: str) -> Any:
    if not left.endswith(".py"):
        return importlib.import_module(left)
    path = expanded(left).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"no file {left}")
    spec = importlib.util.spec_from_file_location(path.stem, path, loader=_AsWritten(path.stem, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _forget_neighbours()
    before, keeps = set(sys.modules), sys.dont_write_bytecode
    sys.path.insert(0, str(path.parent))  # so that it finds its neighbours
    sys.dont_write_bytecode = True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = keeps
        sys.path.remove(str(path.parent))
        _neighbours.update(name for name in set(sys.modules) - before if _lies_in(name, path.parent))
    return module


def _lies_in(name: str, folder: Path) -> bool:
    """Whether a module is a file of a folder that was not installed there."""
    place = Path(getattr(sys.modules[name], "__file__", None) or "/")
    installed = {"site-packages", "dist-packages"} & set(place.parts) or name.partition(".")[0] == "robaudit"
    return folder in place.parents and not installed


class _AsWritten(SourceFileLoader):
    """Runs the source itself: bytecode kept beside it is told from its age in seconds, so may be an earlier one's."""

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)


def _forget_neighbours() -> None:
    """The files beside an earlier factory are imported again: they may have changed, or be another folder's."""
    for name in _neighbours:
        sys.modules.pop(name, None)
    _neighbours.clear()
    importlib.invalidate_caches()
