"""Images: what is accepted, what is refused, and that a seed fixes the subset."""

from __future__ import annotations

import gzip
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
    shuffled = images.subset(None, seed + 1)
    assert torch.equal(shuffled.subset(limit, seed).ids, subset.ids)
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
        (np.zeros((4, 3, 5, 5), np.uint8), (3, 5, 5)),
        (np.zeros((4, 5, 5), np.float32), (1, 5, 5)),
        (np.zeros((4, 5, 5, 3), np.float32), (3, 5, 5)),
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
        load_images("cifar10", data_dir=str(tmp_path))
    assert not Path("canary").exists()


def unbalanced(sizes: tuple[int, ...]) -> Images:
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    return make_images(
        torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8),
        labels,
        name="x",
        split="test",
        classes=len(sizes),
    )


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=6).filter(lambda s: max(s) > 1.1 * min(s)),
    limit=st.integers(1, 150),
    seed=st.integers(0, 2**40),
)
def test_an_unbalanced_split_gives_every_class_its_share(sizes: list[int], limit: int, seed: int) -> None:
    images = unbalanced(tuple(sizes))
    subset = images.subset(limit, seed)
    assert len(set(subset.ids.tolist())) == len(subset) == min(limit, len(images))
    share = len(subset) / len(images)
    for label, taken in enumerate(subset.labels.bincount(minlength=len(sizes)).tolist()):
        assert abs(taken - sizes[label] * share) < 1 + 1e-9


def test_every_example_of_an_unbalanced_split_is_as_likely_as_any_other() -> None:
    images = unbalanced((5, 20, 11))
    counts = np.zeros(36)
    for seed in range(3000):
        counts[images.subset(9, seed).ids.numpy()] += 1
    sigma = (3000 * 0.25 * 0.75) ** 0.5
    assert np.abs(counts - 3000 / 4).max() < 4.5 * sigma


def test_a_balanced_split_gives_every_class_as_many() -> None:
    taken = unbalanced((50, 50, 54)).subset(30, 1).labels.bincount()
    assert taken.tolist() == [10, 10, 10]


def test_svhn_in_its_own_layout(tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 25), dtype=np.uint8)
    labels = (np.arange(25) % 10 + 1).astype(np.uint8).reshape(-1, 1)  # 1 to 10, 10 for the digit 0
    for folder, packed in ((tmp_path, True), (tmp_path / "svhn", False)):
        folder.mkdir(exist_ok=True)
        savemat(folder / "test_32x32.mat", {"X": pixels, "y": labels}, do_compression=packed)
        images = load_images("svhn", data_dir=tmp_path)
        (folder / "test_32x32.mat").unlink()
        assert images.shape == (3, 32, 32) and images.total == 25 and images.classes == 10
        for pixel, label, row in zip(images.pixels, images.labels, images.ids.tolist(), strict=True):
            assert int(label) == (row + 1) % 10
            for channel in range(3):
                assert np.array_equal(pixel[channel].numpy(), pixels[:, :, channel, row])


def test_svhn_that_is_damaged_or_claims_too_much(tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    path = tmp_path / "test_32x32.mat"
    savemat(path, {"X": np.zeros((32, 32, 3, 5), np.uint8), "y": np.ones((5, 1), np.uint8)})
    data = path.read_bytes()
    at = data.index(np.array([32, 32, 3, 5], "<i4").tobytes())
    huge = data[: at + 12] + np.array([1 << 24], "<i4").tobytes() + data[at + 16 :]
    for changed in (data[:200], b"", huge, data[:at] + b"\xff" * 16 + data[at + 16 :]):
        path.write_bytes(changed)
        with pytest.raises(RobauditError, match=r"not SVHN's \.mat file|is empty"):
            load_images("svhn", data_dir=tmp_path)


@pytest.mark.parametrize("folder", ["FashionMNIST/raw", "fashion-mnist"])
def test_idx_files_as_torchvision_and_debian_have_them(tmp_path: Path, folder: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = (np.arange(20) % 10).astype(np.uint8)
    (tmp_path / folder).mkdir(parents=True)
    for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        with gzip.open(tmp_path / folder / f"t10k-{name}-ubyte.gz", "wb") as stream:
            stream.write(head + array.tobytes())
    if folder == "fashion-mnist":
        # The folder itself will do where its name says what it holds: MNIST's files are named alike.
        assert len(load_images("fashion-mnist", data_dir=tmp_path / folder)) == 20
        with pytest.raises(RobauditError, match="is not in"):
            load_images("mnist", data_dir=tmp_path / folder)
    images = load_images("fashion-mnist", data_dir=tmp_path)
    assert images.shape == (1, 28, 28) and images.class_names[9] == "ankle boot"
    for pixel, label, row in zip(images.pixels, images.labels, images.ids.tolist(), strict=True):
        assert np.array_equal(pixel[0].numpy(), pixels[row]) and int(label) == labels[row]
