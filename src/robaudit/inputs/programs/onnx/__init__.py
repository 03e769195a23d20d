"""ONNX files as programs."""

from __future__ import annotations

from robaudit.inputs.programs.onnx.reading import read_onnx

__all__ = ["read_onnx"]
