"""Quantised networks are refused as such, in every format that holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier, make_images
from robaudit.inputs.files.quantised import check_exported, check_onnx, check_scales, check_script

REASON = r"/{}: is of a quantised network \({}.*\), which is not audited; pass the float model"


def refused(path: Path, what: str, **settings: bool) -> None:
    images = make_images(
        torch.rand(40, 1, 8, 8), torch.arange(40) % 10, name="given", split="test", classes=10
    )
    with pytest.raises(RobauditError, match=REASON.format(path.name, what)):
        load_classifier(str(path), images=images, **settings)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_torchscript_with_packed_weights(tmp_path: Path, kind: str) -> None:
    ao = torch.ao.quantization
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)).eval()
    if kind == "dynamic":
        made = ao.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
    else:
        whole = nn.Sequential(ao.QuantStub(), net, ao.DeQuantStub()).eval()
        whole.qconfig = ao.get_default_qconfig("x86")
        made = ao.prepare(whole)
        made(torch.rand(4, 1, 8, 8))
        made = ao.convert(made)
    for name, script in (
        ("s.pt", torch.jit.script(made)),
        ("t.pt", torch.jit.trace(made, torch.rand(1, 1, 8, 8))),
    ):
        torch.jit.save(script, tmp_path / name)
        refused(tmp_path / name, r"(ops\.quantized\.|torch\.quantize_|__torch__\.torch\.classes\.quantized)")
        refused(tmp_path / name, "", trust_program=True)
    torch.save(made, tmp_path / "whole.pth")
    with pytest.raises(
        RobauditError, match=r"packed weights of a quantised network \(pass the float model\)"
    ):
        load_classifier(str(tmp_path / "whole.pth"))


def test_onnx(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    make, array = onnx.helper.make_node, onnx.numpy_helper.from_array
    weight = array(np.ones((64, 10), np.int8), "W")
    scale, zero = array(np.float32(0.01), "s"), array(np.int8(0), "z")
    graphs = {
        "DequantizeLinear": [
            make("DequantizeLinear", ["W", "s", "z"], ["w"]),
            make("MatMul", ["f", "w"], ["y"]),
        ],
        "DynamicQuantizeLinear": [
            make("DynamicQuantizeLinear", ["f"], ["q", "qs", "qz"]),
            make("MatMulInteger", ["q", "W", "qz"], ["yi"]),
            make("Cast", ["yi"], ["yf"], to=1),
            make("Mul", ["yf", "qs"], ["y"]),
        ],
        "QGemm": [make("QGemm", ["f", "W", "s"], ["y"], domain="com.microsoft")],
    }
    value = onnx.helper.make_tensor_value_info
    for what, nodes in graphs.items():
        graph = onnx.helper.make_graph(
            [make("Flatten", ["x"], ["f"]), *nodes], "g", [value("x", 1, ["N", 1, 8, 8])],
            [value("y", 1, ["N", 10])], [weight, scale, zero],
        )  # fmt: skip
        opsets = [onnx.helper.make_opsetid("", 13), onnx.helper.make_opsetid("com.microsoft", 1)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "q.onnx")
        refused(tmp_path / "q.onnx", what)


def test_exported_graphs(tmp_path: Path) -> None:
    from torch.ao.quantization.fx import _decomposed  # noqa: F401  defines the operators

    class Rounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            ops, settings = torch.ops.quantized_decomposed, (0.1, 0, -128, 127, torch.int8)
            return self.last(
                ops.dequantize_per_tensor(ops.quantize_per_tensor(x.flatten(1), *settings), *settings)
            )

    program = torch.export.export(Rounded().eval(), (torch.rand(2, 1, 8, 8),))
    torch.export.save(program, tmp_path / "q.pt2")
    refused(tmp_path / "q.pt2", r"torch\.ops\.quantized_decomposed\.quantize_per_tensor")


@pytest.mark.parametrize("name", ["0.weight_scale", "0.weight_scale_inv", "0.scale", "0.input_scale"])
def test_float8_weights_with_scales(tmp_path: Path, name: str) -> None:
    state = {"0.weight": torch.rand(10, 64).to(torch.float8_e4m3fn), "0.bias": torch.rand(10)}
    save_file(state | {name: torch.ones(1)}, tmp_path / "q.safetensors")
    refused(tmp_path / "q.safetensors", rf"0\.weight is float8_e4m3fn, scaled by {name}")


def test_what_is_in_floats_is_none_of_them() -> None:
    eight = torch.rand(10, 64).to(torch.float8_e4m3fn)
    check_scales({"0.weight": eight, "0.bias": torch.rand(10), "1.scale": torch.rand(10)})
    check_scales({"0.weight": torch.rand(10, 64), "0.weight_scale": torch.rand(1)})
    check_onnx(["Conv", "Gemm", "MatMul", "Clip", "Round", "Cast"])
    check_exported(["torch.ops.aten.linear.default", "torch.ops.aten.round.default", "_operator.getitem"])
    check_script("def forward(self, x):\n  return torch.linear(x, self.quantized)\n")
    for operator in (
        "QLinearConv",
        "QuantizeLinear",
        "ConvInteger",
        "MatMulNBits",
        "QLinearGlobalAveragePool",
    ):
        with pytest.raises(RobauditError, match=operator):
            check_onnx(["Conv", operator])
