"""Damaged programs and data sets: ONNX, TorchScript, .pt2, npz, safetensors, idx and .mat; memory bounded."""

from __future__ import annotations

import io
import resource
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier, load_images
from tests.inputs.files.hostile import mutations


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 10)).eval()


def onnx_file() -> bytes:
    onnx = pytest.importorskip("onnx")
    weights = {key: tensor.numpy() for key, tensor in small().state_dict().items()}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["a"], kernel_shape=[3, 3]),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("Flatten", ["b"], ["c"]),
        onnx.helper.make_node("Gemm", ["c", "3.weight", "3.bias"], ["y"], transB=1),
    ]
    shapes = [onnx.helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [1, 1, 8, 8]), ("y", [1, 10]))]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = onnx.helper.make_graph(nodes, "net", shapes[:1], shapes[1:], tensors)
    return bytes(onnx.helper.make_model(graph).SerializeToString())


def script_file() -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(small(), torch.rand(1, 1, 8, 8)), stream)
    return stream.getvalue()


def exported_file() -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(small(), (torch.rand(1, 1, 8, 8),)), stream)
    return stream.getvalue()


def packed(compressed: bool) -> bytes:
    stream = io.BytesIO()
    write = np.savez_compressed if compressed else np.savez
    write(stream, images=np.zeros((12, 8, 8), np.uint8), labels=np.arange(12) % 3)
    return stream.getvalue()


def refused(call: Callable[[], object], path: Path) -> bool:
    """Whether a call is refused with one clear message; anything else but success fails the test."""
    try:
        call()
    except RobauditError as error:
        assert str(error).startswith(str(path)) and str(error).count("\n") <= 1 and len(str(error)) < 700
        return True
    return False


def grown() -> int:
    """Kilobytes that this process, or a child of it, has ever held at once."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


# Each file is read in a child process of its own, so that all of them take minutes.
some_or_all = pytest.mark.parametrize("share", [0.3, pytest.param(1.0, marks=pytest.mark.heavy)])


PROGRAMS = {"onnx": (onnx_file, 200), "ts": (script_file, 50), "pt2": (exported_file, 80)}


@pytest.mark.filterwarnings("ignore")
@some_or_all
@pytest.mark.parametrize("ending", PROGRAMS)
def test_mutated_programs(tmp_path: Path, ending: str, share: float) -> None:
    make, count = PROGRAMS[ending][0], round(share * PROGRAMS[ending][1])
    path = tmp_path / f"a.{ending}"
    path.write_bytes(make())
    assert not refused(lambda: load_classifier(str(path)), path)
    before, total = grown(), 0
    for data in mutations(path.read_bytes(), count, len(ending)):
        path.write_bytes(data)
        total += refused(lambda: load_classifier(str(path)), path)
    assert total > count / 5
    assert grown() - before < 1 << 20  # a gigabyte


SETS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "npz": ("a.npz", lambda: packed(False)),
    "compressed npz": ("a.npz", lambda: packed(True)),
    "safetensors": (
        "a.safetensors",
        lambda: save({"images": np.zeros((12, 8, 8), np.uint8), "labels": np.arange(12) % 3}),
    ),
}


@some_or_all
@pytest.mark.parametrize("kind", SETS)
def test_mutated_data_sets(tmp_path: Path, kind: str, share: float) -> None:
    name, make = SETS[kind]
    path = tmp_path / name
    path.write_bytes(make())
    assert len(load_images(str(path))) == 12
    before, total = grown(), 0
    for data in mutations(path.read_bytes(), round(share * 300), len(kind)):
        path.write_bytes(data)
        total += refused(lambda: load_images(str(path)), path)
    assert total > share * 60
    assert grown() - before < 1 << 20


@some_or_all
def test_mutated_idx_and_mat_files(tmp_path: Path, share: float) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    head = bytes([0, 0, 8, 3]) + np.array([20, 28, 28], ">u4").tobytes()
    (raw / "t10k-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 20]) + bytes(range(10)) * 2)
    savemat(
        tmp_path / "test_32x32.mat", {"X": np.zeros((32, 32, 3, 6), np.uint8), "y": np.arange(1, 7)[:, None]}
    )
    for name, path, data in (
        ("mnist", raw / "t10k-images-idx3-ubyte", head + bytes(20 * 784)),
        ("svhn", tmp_path / "test_32x32.mat", (tmp_path / "test_32x32.mat").read_bytes()),
    ):
        path.write_bytes(data)
        assert load_images(name, data_dir=tmp_path).classes == 10
        for changed in mutations(data, round(share * 150), 3):
            path.write_bytes(changed)
            try:
                load_images(name, data_dir=tmp_path)
            except RobauditError as error:
                assert name in str(error) or str(path) in str(error)
