"""What tells that a file is of a quantised network, and what is said of one in every format."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch

from robaudit.errors import RobauditError

#: TorchScript's code of one: packed weights, and operators on quantised tensors.
_SCRIPT = re.compile(
    r"ops\.(?:quantized|onednn)\.\w+|torch\.quantize_\w+|torch\.quantized_\w+|__torch__\.torch\.classes\.quantized\.\w+"
)
#: Operators of ONNX, onnxruntime's own included.
_ONNX = re.compile(
    r"(Dynamic)?Quantize\w*|Dequantize\w*|QLinear\w+|QGemm|QAttention|QEmbed\w+|(Conv|MatMul)Integer\w*|MatMul(NBits|BnB4)"
)
#: Operators of `torch.export`.
_EXPORTED = re.compile(
    r"torch\.ops\.(quantized_decomposed|quantized|torchao|pt2e_quant|onednn)\..+|torch\.ops\.aten\.(quantize|dequantize|_?fake_quantize)\w*\..+"
)
#: What the scale of a float8 tensor is called, beside it.
_SCALE = re.compile(r"(\w+_)?scales?(_inv)?")


def quantised(what: str) -> RobauditError:
    """The refusal, to stand after the file; `what` tells it."""
    return RobauditError(
        f"is of a quantised network ({what[:80]}), which is not audited; pass the float model"
    )


def check_script(source: str) -> None:
    """Raise `quantised` where TorchScript's code is of such a network."""
    if match := _SCRIPT.search(source):
        raise quantised(match[0])


def check_onnx(operators: Iterable[str]) -> None:
    """Raise `quantised` where one of these is an operator of such a network."""
    _check(_ONNX, operators)


def check_exported(operators: Iterable[str]) -> None:
    """Raise `quantised` where one of these is an operator of such a network."""
    _check(_EXPORTED, operators)


def _check(pattern: re.Pattern[str], operators: Iterable[str]) -> None:
    for name in operators:
        if pattern.fullmatch(name):
            raise quantised(name)


def check_scales(state: dict[str, torch.Tensor]) -> None:
    """Raise `quantised` where float8 tensors have scales beside them, without which they are other numbers."""
    small = {
        key.rpartition(".")[0]: key
        for key, tensor in state.items()
        if tensor.is_floating_point() and tensor.dtype.itemsize == 1
    }
    for key in state if small else ():
        place, _, last = key.rpartition(".")
        if place in small and key != small[place] and _SCALE.fullmatch(last):
            kind = str(state[small[place]].dtype).removeprefix("torch.")
            raise quantised(f"{small[place]} is {kind}, scaled by {key}")
