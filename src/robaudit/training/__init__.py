"""Weights change here: TRADES and its kin, with a monitor of gradient masking and a healer."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robaudit.training.loop import train
    from robaudit.training.monitor import Check, MaskingMonitor
    from robaudit.training.presets import PRESETS, Preset, preset
    from robaudit.training.progress import Silent, TrainProgress
    from robaudit.training.settings import Inner, TrainSettings
    from robaudit.training.stepping import NotFiniteError, StepResult

#: Where each name is; it is imported when it is first used, for a bad setting is told without torch.
_PLACES = {
    "train": "loop",
    "Check": "monitor",
    "MaskingMonitor": "monitor",
    "PRESETS": "presets",
    "Preset": "presets",
    "preset": "presets",
    "Silent": "progress",
    "TrainProgress": "progress",
    "Inner": "settings",
    "TrainSettings": "settings",
    "NotFiniteError": "stepping",
    "StepResult": "stepping",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'robaudit.training' has no attribute '{name}'")
    return getattr(import_module(f"robaudit.training.{_PLACES[name]}"), name)


__all__ = [
    "PRESETS",
    "Check",
    "Inner",
    "MaskingMonitor",
    "NotFiniteError",
    "Preset",
    "Silent",
    "StepResult",
    "TrainProgress",
    "TrainSettings",
    "preset",
    "train",
]
