"""Models that bring their own code: TorchScript, `.pt2` and ONNX, read as data into one graph; a user's factory."""

from __future__ import annotations

from robaudit.factory_names import is_factory
from robaudit.inputs.programs.factories import call_factory
from robaudit.inputs.programs.factory_source import source_digest
from robaudit.inputs.programs.loading import Loaded, load_program, with_logits
from robaudit.inputs.programs.network import Shape
from robaudit.inputs.programs.outputs import ONE_OUTPUT

__all__ = [
    "ONE_OUTPUT",
    "Loaded",
    "Shape",
    "call_factory",
    "is_factory",
    "load_program",
    "source_digest",
    "with_logits",
]
