"""TorchScript archives as programs."""

from __future__ import annotations

from robaudit.inputs.programs.torchscript.loading import read_torchscript

__all__ = ["read_torchscript"]
