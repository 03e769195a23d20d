"""Data as people bring them: every depth of pixels, every form of labels, folders with what systems leave in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from robaudit.errors import RobauditError
from robaudit.inputs.data.array_names import image_and_label_names
from robaudit.inputs.data.folders import read_folder
from robaudit.inputs.data.labels import class_labels
from robaudit.inputs.data.loading import load_images
from robaudit.inputs.data.pictures import decode

RAMP = np.arange(64, dtype=np.float64).reshape(8, 8) / 63
LIMIT = 1 << 30


def pictures(folder: Path, *arrays: np.ndarray, ending: str = "png") -> list[Path]:
    """Image files of the arrays, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.{ending}" for number in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(array).save(path)
    return paths


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled_by_their_full_scale(tmp_path: Path, ending: str) -> None:
    deep = (RAMP * 65535).round().astype(np.uint16)
    found = decode(pictures(tmp_path, deep, ending=ending), LIMIT)
    assert found.dtype == np.float32 and np.allclose(found[0], RAMP, atol=1e-5)


@pytest.mark.parametrize("most", [4095, 255, 1023, 32767])
def test_sixteen_bits_of_an_unknown_scale_are_refused(tmp_path: Path, most: int) -> None:
    deep = (RAMP * most).round().astype(np.uint16)
    with pytest.raises(RobauditError, match=f"run from 0 to {most}.*not tell what is white"):
        decode(pictures(tmp_path, deep, ending="tif"), LIMIT)


def test_float_tiffs_are_taken_in_the_unit_interval_only(tmp_path: Path) -> None:
    found = decode(pictures(tmp_path / "a", RAMP.astype(np.float32), ending="tiff"), LIMIT)
    assert found.dtype == np.float32 and found.shape == (1, 8, 8) and np.allclose(found[0], RAMP)
    with pytest.raises(RobauditError, match=r"floats from 0 to 3e\+03"):
        decode(pictures(tmp_path / "b", (3000 * RAMP).astype(np.float32), ending="tiff"), LIMIT)


def test_depths_are_not_mixed(tmp_path: Path) -> None:
    shallow, deep = (RAMP * 255).astype(np.uint8), (RAMP * 65535).astype(np.uint16)
    with pytest.raises(RobauditError, match="another depth"):
        decode(pictures(tmp_path, shallow, deep), LIMIT)


def test_a_grey_first_file_makes_nothing_grey(tmp_path: Path) -> None:
    grey, colour = np.full((8, 8), 7, np.uint8), np.zeros((8, 8, 3), np.uint8)
    colour[..., 0] = 200
    found = decode(pictures(tmp_path, grey, grey, colour, grey), LIMIT)
    assert found.shape == (4, 8, 8, 3)
    assert (found[[0, 1, 3]] == 7).all() and (found[2] == colour).all()


def test_grey_pictures_stored_in_colour_stay_grey_among_grey_ones(tmp_path: Path) -> None:
    grey = (RAMP * 255).astype(np.uint8)
    found = decode(pictures(tmp_path, grey, np.repeat(grey[..., None], 3, -1)), LIMIT)
    assert found.shape == (2, 8, 8) and (found[1] == grey).all()


def folder_of_classes(root: Path, names: tuple[str, ...]) -> None:
    for level, name in enumerate(names):
        pictures(root / name, *[np.full((4, 4), 10 * level, np.uint8)] * 2)


def test_a_folder_without_images_is_no_class_unless_that_is_said(tmp_path: Path) -> None:
    folder_of_classes(tmp_path, ("cat", "dog"))
    (tmp_path / "@eaDir").mkdir()
    with pytest.raises(
        RobauditError, match=r"the folder '@eaDir' holds no images; remove it, or say by a classes\.json"
    ):
        read_folder(tmp_path, "test")
    (tmp_path / "classes.json").write_text('{"@eaDir": 0, "cat": 1, "dog": 2}')
    assert sorted(set(read_folder(tmp_path, "test")["labels"].tolist())) == [1, 2]
    (tmp_path / "gifs" / "a").mkdir(parents=True)
    (tmp_path / "gifs" / "a" / "0.gif").write_bytes(b"GIF89a")
    with pytest.raises(RobauditError, match=r"holds no two folders of images \(bmp, jpeg, jpg, pgm, png"):
        read_folder(tmp_path / "gifs", "test")


def test_what_systems_leave_in_folders_is_no_image_and_no_class(tmp_path: Path) -> None:
    folder_of_classes(tmp_path, ("cat", "dog"))
    (tmp_path / "cat" / "._0.png").write_bytes(b"\0\5\x16\7")
    for name in ("__MACOSX", ".ipynb_checkpoints"):
        pictures(tmp_path / name, np.zeros((4, 4), np.uint8))
    found = read_folder(tmp_path, "test")
    assert found["labels"].tolist() == [0, 0, 1, 1] and found["class_names"] == ["cat", "dog"]


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "Test"), ("test", "training", "valid")])
def test_parts_of_a_data_set_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        folder_of_classes(tmp_path / name, ("cat", "dog"))
    with pytest.raises(RobauditError, match="no classes; choose one with --split"):
        read_folder(tmp_path, "none-of-them")
    assert read_folder(tmp_path, names[1])["class_names"] == ["cat", "dog"]


@pytest.mark.parametrize(
    "content",
    [
        {"n02": 1, "n01": 4, "n03": 2},
        {"4": "n01", "1": "n02", "2": "n03"},
        {"4": ["n01", "tench"], "1": ["n02", "goldfish"], "2": ["n03", "shark"], "0": ["n00", "hen"]},
        ["a", "n02", "n03", "b", "n01"],
        {"label2id": {"n02": 1, "n01": 4, "n03": 2}, "hidden_size": 3},
    ],
)
def test_a_folder_says_which_class_each_name_is(tmp_path: Path, content: Any) -> None:
    folder_of_classes(tmp_path / "val", ("n01", "n02"))
    (tmp_path / "classes.json").write_text(json.dumps(content))
    found = read_folder(tmp_path, "val")
    assert found["labels"].tolist() == [4, 4, 1, 1]
    assert found["classes"] == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ('{"n01": "x"}', "expected a list of class names"),
        ('{"n01": -1, "n02": 0}', "expected a list of class names"),
        ('{"n01": 1e9, "n02": 0}', "expected a list of class names"),
        ('{"n01": true, "n02": 0}', "expected a list of class names"),
        ("[[1]]", "expected a list of class names"),
        ("[" * 100_000, "is not JSON"),
        ('{"n01": 3}', "does not say which class the folder 'n02' is"),
    ],
)
def test_a_list_of_classes_is_only_data(tmp_path: Path, text: str, message: str) -> None:
    folder_of_classes(tmp_path, ("n01", "n02"))
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(RobauditError, match=message):
        read_folder(tmp_path, "test")


LABELS = np.array([2, 0, 1, 2])


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y[:, None],
        lambda y: y.astype(np.float32),
        lambda y: np.eye(3)[y],
        lambda y: np.eye(3, dtype=bool)[y],
        lambda y: y.astype(np.uint8),
    ],
)
def test_labels_that_mean_class_indices_are_taken(form: Callable[[np.ndarray], np.ndarray]) -> None:
    assert class_labels(form(LABELS), "x").tolist() == LABELS.tolist()
    assert class_labels(np.array([True, False]), "x").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0.0, np.nan, 1]), "1 labels are NaN"),
        (np.array([0.0, 0.5]), "not whole numbers"),
        (np.array([-1, 1, 1]), r"stand for 0 and 1"),
        (np.array([-1, 0, 3]), "go down to -1"),
        (np.array([0, 3, 255, 255], np.uint8), "2 labels are 255, which stands for no label"),
        (np.array([0, 255, 255], np.uint8), r"labels are 0 and 255; give 0 and 1 \(labels // 255\)"),
        (np.array([0, 10**12]), "go up to"),
        (np.full((3, 4), 0.25), "not one-hot"),
        (np.array([2**63 + 1], np.uint64), "go up to"),
    ],
)
def test_labels_that_do_not_are_refused_in_a_sentence(labels: np.ndarray, message: str) -> None:
    with pytest.raises(RobauditError, match=message):
        class_labels(labels, "x")


def test_a_half_precision_image_and_one_rounded_beyond_one_are_taken(tmp_path: Path) -> None:
    pixels = torch.rand(4, 1, 3, 3).bfloat16()
    save_file({"images": pixels, "labels": torch.tensor([0, 1, 0, 1])}, tmp_path / "a.safetensors")
    found = load_images(str(tmp_path / "a.safetensors"))
    assert torch.equal(found.pixels, pixels.float()[found.ids])
    above = (torch.ones(2, 1, 2, 2) * 1.0000002).numpy()
    np.savez(tmp_path / "b.npz", images=above, labels=np.array([0, 1]))
    assert float(load_images(str(tmp_path / "b.npz")).pixels.max()) == 1.0


def test_a_misspelt_data_set_is_guessed() -> None:
    with pytest.raises(RobauditError, match=r"cifra10: no such data set.*did you mean cifar10\?"):
        load_images("cifra10")


def test_floats_with_channels_last_and_arrays_of_other_names(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((4, 6, 5, 3), np.float32)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([0, 1, 0, 1]))
    found = load_images(str(tmp_path / "a.npz"))
    assert found.shape == (3, 6, 5)
    assert np.array_equal(found.pixels.numpy(), images.transpose(0, 3, 1, 2)[found.ids])
    np.savez(tmp_path / "b.npz", pictures=images, y=np.array([0, 1, 0, 1]))
    with pytest.raises(RobauditError, match=r"holds no 'images' \(pictures, y\)"):
        load_images(str(tmp_path / "b.npz"))


@pytest.mark.parametrize(
    ("names", "split", "expected"),
    [
        (("x", "y"), "test", ("x", "y")),
        (("Y", "X"), "test", ("X", "Y")),
        (("data", "labels"), "test", ("data", "labels")),
        (("arr_0", "arr_1"), "test", ("arr_0", "arr_1")),
        (("x_train", "y_train", "x_test", "y_test"), "test", ("x_test", "y_test")),
        (("x_train", "y_train", "x_test", "y_test"), "train", ("x_train", "y_train")),
        (("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"), "test",
         ("test_images", "test_labels")),
        (("images", "labels", "x_test", "y_test"), "test", ("images", "labels")),
        (("images", "targets", "mean"), "test", ("images", "targets")),
        (("x_train", "y_train"), "test", "holds no test split .* pass --split train"),
        (("x", "data", "y"), "test", "is open"),
        (("images",), "test", "holds no 'labels'"),
        (("arr_0",), "test", "holds no 'labels'"),
        ((), "test", "holds no 'images'"),
    ],
)  # fmt: skip
def test_arrays_are_told_by_their_usual_names(names: tuple[str, ...], split: str, expected: Any) -> None:
    if isinstance(expected, str):
        with pytest.raises(RobauditError, match=expected):
            image_and_label_names(names, split, "a.npz")
    else:
        assert image_and_label_names(names, split, "a.npz") == expected
