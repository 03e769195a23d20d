"""The network that hostile TorchScript, `.pt2` and ONNX files are made from, and what their makers share."""

from __future__ import annotations

import functools
import io
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

#: Numbers that arithmetic on sizes, strides and places likes least.
NUMBERS = (0, -1, 1, 3, 1 << 16, 1 << 31, 1 << 40, -(1 << 31), (1 << 62) + 1, (1 << 63) - 1, -(1 << 63))
ESCAPE = "\x1b[31m\n::error::x"


class Net(nn.Module):
    """A bit of everything that a classifier is made of, for digits of 8 by 8."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 2 * 2, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = nn.functional.max_pool2d(x, 2)
        x = torch.cat([x[:, :2], x[:, 2:].flip(3)], 1)
        x = nn.functional.adaptive_avg_pool2d(x.permute(0, 1, 3, 2), 2)
        return torch.softmax(self.fc(x.reshape(x.shape[0], -1)), 1)


def _net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@functools.cache
def torchscript() -> bytes:
    """The net as TorchScript, scripted."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(_net()), stream)
    return stream.getvalue()


@functools.cache
def exported() -> bytes:
    """The net as `.pt2`."""
    stream = io.BytesIO()
    torch.export.save(torch.export.export(_net(), (torch.rand(2, 1, 8, 8),)), stream)
    return stream.getvalue()


@functools.cache
def onnx_model() -> Any:
    """The net as an ONNX model."""
    import onnx

    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(_net(), (torch.rand(1, 1, 8, 8),), stream, dynamo=False, input_names=["x"])
    return onnx.load_model_from_string(stream.getvalue())


def rewritten(
    data: bytes, change: Callable[[str, bytes], bytes], extra: dict[str, bytes] | None = None
) -> bytes:
    """An archive with other records."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for record in old.infolist():
            if not record.filename.endswith(".debug_pkl"):
                new.writestr(record.filename, change(record.filename, old.read(record)))
        for name, added in (extra or {}).items():
            new.writestr(name, added)
    return out.getvalue()
