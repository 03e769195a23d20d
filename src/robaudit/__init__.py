"""Says, with evidence that anyone can re-check, whether a classifier's robustness is overestimated.

    import robaudit

    result = robaudit.check(model, images, labels, eps=8 / 255)
    print(result)

The names are loaded when they are first used: `import robaudit` alone imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from robaudit.errors import RobauditError

if TYPE_CHECKING:
    from robaudit import attacks as attacks
    from robaudit.api import Adversarial, AutoAttack, Result, Settings, check, load

__version__ = "0.1.0"
__all__ = ["Adversarial", "AutoAttack", "Result", "RobauditError", "Settings", "__version__", "check", "load"]

_FRONT_DOOR = ("Adversarial", "AutoAttack", "Result", "Settings", "check", "load")


if not TYPE_CHECKING:  # a type checker sees the names themselves, and misspelled ones

    def __getattr__(name: str) -> object:
        if name == "attacks":  # a room whose functions are part of the front door
            return import_module("robaudit.attacks")
        if name in _FRONT_DOOR:
            return getattr(import_module("robaudit.api"), name)
        raise AttributeError(f"module 'robaudit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FRONT_DOOR, "attacks"})
