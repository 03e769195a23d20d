"""Files of every format with their structure changed: each is refused or read, and nothing else happens."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

from robaudit.inputs import build_architecture
from tests.hostile import mutating, mutating_data
from tests.hostile.assembling import saved
from tests.hostile.harness import Case, Hostile

PIXELS = np.arange(12 * 64, dtype=np.uint8).reshape(12, 8, 8)
LABELS = np.arange(12) % 3


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_architecture(
        "sequential:flatten fc12 relu fcK", classes=10, in_channels=1, image_size=8
    ).state_dict()


def _zip_model() -> mutating.Mutate:
    data = saved({"state_dict": _state(), "epoch": 3})
    return lambda draw: mutating.mutate_zip(data, draw)


def _legacy_model() -> mutating.Mutate:
    data = saved({"state_dict": _state()}, _use_new_zipfile_serialization=False)
    return lambda draw: mutating.legacy_model(data, draw)


def _tensors_model() -> mutating.Mutate:
    data = save_tensors(_state(), {"note": "x"})
    return lambda draw: mutating.mutate_safetensors(data, draw)


def _whole_pickle() -> mutating.Mutate:
    data = saved(
        {"state_dict": _state(), "optimizer": {"lr": 0.1, "betas": (0.9, 0.99)}, "best": np.float64(0.5)}
    )
    records = dict(mutating.records_of(data))

    def make(draw: random.Random) -> bytes:
        changed = mutating.mutate_pickle(records["archive/data.pkl"], draw)
        return mutating.zipped({**records, "archive/data.pkl": changed}.items())

    return make


#: By name: the ending, how many in all, and what makes one.
MODELS: dict[str, tuple[str, int, Callable[[], mutating.Mutate]]] = {
    "pickles by hand": ("pt", 200, lambda: mutating.pickled_model),
    "pickles of torch": ("pt", 200, _whole_pickle),
    "zips": ("pt", 250, _zip_model),
    "legacy": ("pth", 150, _legacy_model),
    "safetensors": ("safetensors", 250, _tensors_model),
}


def _cases(kind: str, count: int, first: int = 0) -> Iterator[Case]:
    ending, _, make = MODELS[kind]
    for row, data in enumerate(mutating.mutated(make(), count, first)):
        yield Case(f"{kind} {row}", data, ending, harmless=True)


@pytest.mark.parametrize("kind", MODELS)
def test_models(hostile: Hostile, kind: str) -> None:
    assert hostile.try_all(_cases(kind, 8)) == 8


@pytest.mark.heavy
@pytest.mark.parametrize("kind", MODELS)
def test_all_models(hostile: Hostile, kind: str) -> None:
    count = MODELS[kind][1]
    assert hostile.try_all(_cases(kind, count, 1)) == count


def _npz() -> mutating.Mutate:
    stream = io.BytesIO()
    np.savez(stream, images=PIXELS, labels=LABELS)
    return lambda draw: mutating_data.npz(stream.getvalue(), draw)


def _data_tensors() -> mutating.Mutate:
    data = save_arrays({"images": PIXELS, "labels": LABELS})
    return lambda draw: mutating.mutate_safetensors(data, draw)


def _mat() -> mutating.Mutate:
    from scipy.io import savemat

    stream = io.BytesIO()
    savemat(stream, {"X": np.zeros((32, 32, 3, 6), np.uint8), "y": np.arange(1, 7, dtype=np.uint8)[:, None]})
    return lambda draw: mutating_data.mat(stream.getvalue(), draw)


def _cifar() -> mutating.Mutate:
    batch = {b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, 2, 3], b"filenames": [b"a.png"] * 4}
    data = pickle.dumps(batch, 2)
    return lambda draw: mutating.mutate_pickle(data, draw)


def _idx() -> mutating.Mutate:
    data = bytes([0, 0, 8, 3]) + np.array([20, 28, 28], ">u4").tobytes() + bytes(20 * 784)

    def make(draw: random.Random) -> bytes:
        changed = mutating_data.idx(data, draw)
        return gzip.compress(changed) if draw.random() < 0.3 else changed

    return make


def _picture(kind: str) -> Callable[[], mutating.Mutate]:
    def prepare() -> mutating.Mutate:
        stream = io.BytesIO()
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(stream, kind)
        change = mutating_data.png if kind == "PNG" else mutating_data.picture
        return lambda draw: change(stream.getvalue(), draw)

    return prepare


PICTURES = {"PNG": "png", "TIFF": "tif", "JPEG": "jpg", "BMP": "bmp", "WEBP": "webp", "PPM": "ppm"}
#: By name: where the file lies, the flags that name it, how many in all, and what makes one.
SETS: dict[str, tuple[str, list[str], int, Callable[[], mutating.Mutate]]] = {
    "npz": ("a.npz", ["--dataset", "a.npz", "--eps", "0.1"], 150, _npz),
    "tensors": ("a.safetensors", ["--dataset", "a.safetensors", "--eps", "0.1"], 100, _data_tensors),
    "mat": ("test_32x32.mat", ["--dataset", "svhn", "--data-dir", "."], 120, _mat),
    "cifar": ("cifar-10-batches-py/test_batch", ["--dataset", "cifar10", "--data-dir", "."], 120, _cifar),
    "idx": ("MNIST/raw/t10k-images-idx3-ubyte", ["--dataset", "mnist", "--data-dir", "."], 60, _idx),
    **{
        kind: (f"pictures/0/a.{ending}", ["--dataset", "pictures", "--eps", "0.1"], 40, _picture(kind))
        for kind, ending in PICTURES.items()
    },
}


def _try_sets(hostile: Hostile, kind: str, count: int, first: int) -> None:
    """Images are read before the model, which is not a model: whatever the images are, the answer is exit 2."""
    place, flags, _, make = SETS[kind]
    target = hostile.folder / place
    shutil.rmtree(hostile.folder / "MNIST", ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    (hostile.folder / "model.pt").write_bytes(b"no model")
    if kind == "idx":
        target.with_name("t10k-labels-idx1-ubyte").write_bytes(
            bytes([0, 0, 8, 1, 0, 0, 0, 20]) + bytes(range(10)) * 2
        )
    if kind in PICTURES:
        other = hostile.folder / "pictures" / "1" / "b.png"
        other.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(other)
    wrong = []
    for row, data in enumerate(mutating.mutated(make(), count, first)):
        target.write_bytes(data)
        fault = hostile.faults(hostile.run("check", "model.pt", *flags))
        wrong += [f"{kind} {row}: {fault}"] if fault else []
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:40])


@pytest.mark.parametrize("kind", SETS)
def test_data_sets(hostile: Hostile, kind: str) -> None:
    _try_sets(hostile, kind, 3, 0)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", SETS)
def test_all_data_sets(hostile: Hostile, kind: str) -> None:
    _try_sets(hostile, kind, SETS[kind][2], 1)
