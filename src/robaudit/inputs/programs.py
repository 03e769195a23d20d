"""Files and objects that are networks already: ONNX, TorchScript, `.pt2`, a user's own factory."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.exported import load_exported
from robaudit.inputs.onnx_graph import load_onnx
from robaudit.inputs.scripted import load_torchscript

Shape = tuple[int, int, int]


def load_program(path: Path, kind: str, shape: Shape | None) -> tuple[nn.Module, Shape | None, int]:
    """A program's network, the (C, H, W) it takes (the images' where it does not say) and its classes.

    Args:
        path: the file.
        kind: `onnx`, `torchscript` or `pt2`.
        shape: (C, H, W) of the images, None where there are none.

    Raises:
        RobauditError: it cannot be loaded safely, or takes other images.

    """
    network: Any
    if kind == "torchscript":
        network, declared = load_torchscript(path), None
    else:
        network = load_onnx(path) if kind == "onnx" else load_exported(path)
        declared = network.image_shape()
    if shape and declared and tuple(shape) != declared:
        raise RobauditError(
            f"{path}: takes images of {_text(declared)}, the data set has {_text(shape)}; pass its own --dataset"
        )
    shape = shape or declared
    if shape is None:
        return network, None, 0
    example = torch.linspace(0, 1, shape[0] * shape[1] * shape[2]).reshape(1, *shape)
    if kind == "onnx":
        network.settle(example)
    elif kind == "pt2":
        network.settle()
    return network, shape, count_classes(network, example, str(path))


def count_classes(network: nn.Module, example: torch.Tensor, name: str) -> int:
    """Outputs for one image.

    Raises:
        RobauditError: it does not run, or gives anything but (1, K) with K >= 2.

    """
    try:
        with torch.no_grad():
            logits = network.eval()(example)
    except RobauditError as error:
        raise RobauditError(f"{name}: {error}") from error
    except Exception as error:
        reason = str(error).strip().splitlines()[-1][:120] if str(error).strip() else type(error).__name__
        raise RobauditError(
            f"{name}: does not run on images of {_text(tuple(example.shape[1:]))} ({reason}); pass its own --dataset"
        ) from error
    if (
        not isinstance(logits, torch.Tensor)
        or logits.ndim != 2
        or logits.shape[0] != 1
        or logits.shape[1] < 2
    ):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise RobauditError(f"{name}: gives {got} for one image; expected (1, classes)")
    return int(logits.shape[1])


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)


def is_factory(text: str) -> bool:
    """Whether a text is `FILE.py:FACTORY` or `package.module:FACTORY`."""
    left, colon, right = text.rpartition(":")
    return (
        bool(colon)
        and right.isidentifier()
        and (left.endswith(".py") or all(p.isidentifier() for p in left.split(".")))
    )


def call_factory(text: str) -> nn.Module:
    """The network that a user's own function makes; the only way in which a user's code is run.

    Raises:
        RobauditError: no such file, module or function, or it fails, or makes no module.

    """
    left, _, name = text.rpartition(":")
    try:
        module = _module(left)
        factory: Callable[[], Any] = getattr(module, name)
        network = factory()
    except (FileNotFoundError, ModuleNotFoundError, AttributeError) as error:
        raise RobauditError(
            f"{text}: not found ({error}); pass FILE.py:FUNCTION or package.module:FUNCTION"
        ) from error
    except Exception as error:
        raise RobauditError(
            f"{text}: failed with {type(error).__name__}: {str(error)[:200]}; make it work without arguments"
        ) from error
    if not isinstance(network, nn.Module):
        raise RobauditError(f"{text}: returned {type(network).__name__}; expected a torch.nn.Module")
    return network


def _module(left: str) -> Any:
    if not left.endswith(".py"):
        return importlib.import_module(left)
    path = Path(left).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"no file {left}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # so that it finds its neighbours
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
