"""Weights change here: TRADES and its kin, with a monitor of gradient masking and a healer."""

from robaudit.training.loop import train
from robaudit.training.monitor import Check, MaskingMonitor
from robaudit.training.presets import PRESETS, Preset, preset
from robaudit.training.progress import Silent, TrainProgress
from robaudit.training.settings import Inner, TrainSettings
from robaudit.training.stepping import NotFiniteError, StepResult

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
