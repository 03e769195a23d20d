"""Images: what is accepted, what is refused, and that a seed fixes the subset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from robaudit.errors import RobauditError
from robaudit.inputs import DATASETS, Images, load_images, make_images


def some(count: int = 60, classes: int = 4) -> Images:
    labels = torch.arange(count) ** 2 % classes
    pixels = torch.arange(count, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 3, 3).contiguous()
    return make_images(pixels, labels, name="some", split="test", classes=classes)


@settings(max_examples=40, deadline=None)
@given(limit=st.integers(1, 80), seed=st.integers(0, 2**40))
def test_a_subset_is_balanced_and_keeps_its_ids(limit: int, seed: int) -> None:
    images = some()
    subset = images.subset(limit, seed)
    assert len(subset) == min(limit, len(images))
    assert len(set(subset.ids.tolist())) == len(subset)
    assert torch.equal(subset.pixels[:, 0, 0, 0].long(), subset.ids)
    assert torch.equal(subset.labels, images.labels[subset.ids])
    available = images.labels.bincount(minlength=4)
    taken = subset.labels.bincount(minlength=4)
    short = (taken < taken.max() - 1) & (taken < available)
    assert not short.any()  # a class gives fewer only where it has no more
    again = images.subset(limit, seed)
    assert torch.equal(again.ids, subset.ids)
    assert subset.total == 60 and subset.sha256 == images.sha256


def test_another_seed_gives_another_order() -> None:
    assert not torch.equal(some().subset(None, 0).ids, some().subset(None, 1).ids)


def test_a_prefix_is_not_sorted_by_class() -> None:
    labels = torch.arange(1000) // 100
    images = make_images(
        torch.zeros(1000, 1, 2, 2, dtype=torch.uint8), labels, name="x", split="test", classes=10
    )
    first = images.subset(500, 3).labels[:100].bincount(minlength=10)
    assert first.min() >= 2 and not torch.equal(first, torch.full((10,), 10))


def test_floats_are_in_the_unit_interval() -> None:
    images = some()
    assert images.float().dtype == torch.float32
    assert images.float(slice(0, 2)).shape == (2, 1, 3, 3)
    assert float(images.float(torch.tensor([51])).max()) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (torch.rand(4, 1, 2, 2) * 3, torch.zeros(4), "expected \\[0, 1\\]"),
        (torch.full((4, 1, 2, 2), torch.nan), torch.zeros(4), "NaN"),
        (torch.rand(4, 2, 2), torch.zeros(4), "expected \\(N, C, H, W\\)"),
        (torch.rand(4, 1, 2, 2), torch.zeros(3), "one label an image"),
        (torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 2, 5]), "expected 0 to 2"),
        (torch.rand(4, 1, 2, 2), torch.tensor([0.5, 1, 2, 0]), "not whole"),
        (torch.zeros(4, 1, 2, 2, dtype=torch.int64), torch.zeros(4), "expected uint8"),
    ],
)
def test_bad_arrays_are_refused(pixels: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(RobauditError, match=message) as caught:
        make_images(pixels, labels, name="mine", split="test", classes=3)
    assert str(caught.value).startswith("mine")


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.zeros((4, 5, 5), np.uint8), (1, 5, 5)),
        (np.zeros((4, 5, 5, 3), np.uint8), (3, 5, 5)),
        (np.zeros((4, 3, 5, 5), np.float64), (3, 5, 5)),
    ],
)
def test_npz_and_safetensors(tmp_path: Path, array: np.ndarray, shape: tuple[int, ...]) -> None:
    labels = np.array([0, 1, 2, 1])
    np.savez(tmp_path / "a.npz", images=array, labels=labels)
    save_file(
        {"images": torch.from_numpy(array), "labels": torch.from_numpy(labels)}, tmp_path / "a.safetensors"
    )
    for name in ("a.npz", "a.safetensors"):
        images = load_images(str(tmp_path / name))
        assert images.shape == shape and images.classes == 3 and len(images) == 4


def test_npz_that_lies_about_its_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.npz"
    np.savez(path, images=np.zeros((2, 4, 4), np.uint8), labels=np.zeros(2, np.int64))
    data = path.read_bytes().replace(b"(2, 4, 4), }", b"(9999999999999, 4, 4), }"[:12].ljust(12))
    path.write_bytes(data)
    with pytest.raises(RobauditError):
        load_images(str(path))


def test_npz_with_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", images=np.array([{"a": 1}], dtype=object), labels=np.zeros(1, np.int64))
    with pytest.raises(RobauditError, match="never unpickled"):
        load_images(str(tmp_path / "o.npz"))


def test_npz_without_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "n.npz", images=np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(RobauditError, match="holds no 'labels'"):
        load_images(str(tmp_path / "n.npz"))


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    for row, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (6, 6), (row * 200, i, 0)).save(tmp_path / name / f"{i}.png")
    images = load_images(str(tmp_path))
    assert images.class_names == ("cat", "dog") and images.shape == (3, 6, 6) and len(images) == 6
    assert all(
        int(p[0, 0, 0]) == 200 * int(label) for p, label in zip(images.pixels, images.labels, strict=True)
    )
    (tmp_path / "dog" / "3.png").write_bytes(b"not an image")
    with pytest.raises(RobauditError, match="not a readable image"):
        load_images(str(tmp_path))


def test_digits_are_split_once_and_for_all() -> None:
    test, train = load_images("digits"), load_images("digits", split="train")
    assert len(test) == 797 and len(train) == 1000 and test.shape == (1, 8, 8)
    assert float(test.float().max()) == 1.0
    assert load_images("digits", limit=100, seed=5).sha256 == test.sha256


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "digits"])
def test_absent_data_says_how_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(RobauditError, match="--data-dir") as caught:
        load_images(name, data_dir=tmp_path)
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize("source", ["cifar11", "/nowhere/at/all", "pyproject.toml"])
def test_no_such_data_set(source: str) -> None:
    with pytest.raises(RobauditError) as caught:
        load_images(source)
    assert str(caught.value).startswith(source)


def test_a_damaged_cifar_batch_runs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
    with pytest.raises(RobauditError, match="not a CIFAR batch"):
        load_images("cifar10", data_dir=tmp_path)
    assert not Path("canary").exists()
