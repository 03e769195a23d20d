"""Data sets that lie: arrays, pictures, lists of classes and folders are read as what they are, or refused in a line."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robaudit.errors import RobauditError
from robaudit.inputs import load_images
from tests.hostile.assembling import STOP, call, entries, items, name, number, text, zipped
from tests.hostile.harness import Case, Hostile, part
from tests.hostile.test_landscapes import claimed, npy

PIXELS, LABELS = np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3


def _npz(**arrays: Any) -> bytes:
    files = {"images": PIXELS, "labels": LABELS} | arrays
    return zipped(
        (f"{key}.npy", value if isinstance(value, bytes) else npy(value)) for key, value in files.items()
    )


def arrays() -> list[Case]:
    """`.npz` files of strange types, shapes, names and headers."""
    wide = np.zeros((6, 1, 8, 8))
    strange: dict[str, dict[str, Any]] = {
        "texts": {"labels": np.array(["a"] * 6)}, "objects": {"labels": np.array([{}] * 6)}, "records": {"images": np.zeros(6, "u1,u1")},
        "dates": {"labels": np.zeros(6, "M8[s]")}, "complex numbers": {"images": wide.astype(complex)}, "long doubles": {"images": wide.astype(np.longdouble)},
        "booleans": {"images": PIXELS.astype(bool)}, "the other byte order": {"images": wide.astype(">f8"), "labels": LABELS.astype(">i8")},
        "not numbers": {"images": np.full_like(wide, np.nan)}, "infinite": {"images": np.full_like(wide, np.inf)}, "beyond white": {"images": wide + 255},
        "below black": {"images": wide - 1}, "huge numbers": {"images": np.full_like(wide, 1e308)}, "no images": {"images": PIXELS[:0], "labels": LABELS[:0]},
        "no pixels": {"images": PIXELS[:, :0]}, "fewer labels": {"labels": LABELS[:5]}, "labels in a row": {"labels": LABELS[None]}, "one label": {"labels": np.array(3)},
        "labels that are not classes": {"labels": np.full(6, 2**63 - 1)}, "unsigned labels": {"labels": np.full(6, 2**64 - 1, np.uint64)}, "negative labels": {"labels": LABELS - 9},
        "halves": {"labels": LABELS + 0.5}, "labels that are none": {"labels": np.full(6, np.nan)}, "a million classes": {"labels": LABELS + 999_990},
        "many dimensions": {"images": np.zeros((6,) + (1,) * 25, np.uint8)}, "five dimensions": {"images": np.zeros((6, 1, 1, 8, 8))}, "one large picture": {"images": np.zeros((1, 9000, 9000), np.uint8), "labels": LABELS[:1]},
        "a header of objects": {"images": claimed((6,), "|O", b"\x80\x04cos\nsystem\n")}, "a header that is code": {"images": claimed("__import__('os').abort()")},
        "a header without end": {"images": claimed((1 << 60, 1 << 60))}, "true as a size": {"images": claimed((True, 384), "|u1", bytes(384))},
        "a header of brackets": {"images": b"\x93NUMPY\2\0" + struct.pack("<I", 60_000) + b"(" * 60_000}, "a later version": {"images": claimed((6, 8, 8), "|u1", bytes(384), version=3)},
        "a format of its own": {"images": claimed((6,), "<U999999999")}, "no header": {"images": b"\x93NUMPY"}, "a nested file": {"images": _zip()},
    }  # fmt: skip
    cases = [Case(what, _npz(**change), "npz") for what, change in strange.items()]
    many = {f"x_{k}": npy(PIXELS) for k in range(3000)}
    return [
        *cases,
        Case("names that command", zipped([("\x1b[31m::error::.npy", npy(PIXELS)), ("images.npy", npy(PIXELS))]), "npz"),
        Case("names in two cases", zipped([("Images.npy", npy(PIXELS)), ("images.npy", npy(PIXELS)), ("labels.npy", npy(LABELS))]), "npz"),
        Case("a name upwards", zipped([("../images.npy", npy(PIXELS)), ("labels.npy", npy(LABELS))]), "npz"),
        Case("thousands of arrays", zipped((f"{key}.npy", data) for key, data in many.items()), "npz"),
        Case("a bomb", zipped([("images.npy", npy(np.zeros((900, 1000, 1000), np.uint8))), ("labels.npy", npy(np.zeros(900, int)))], zipfile.ZIP_DEFLATED), "npz"),
        Case("a picture", b"\x89PNG\r\n\x1a\n" + bytes(50), "npz"),
    ]  # fmt: skip


def _zip() -> bytes:
    return zipped([("images.npy", npy(PIXELS))])


def batches() -> list[Case]:
    """CIFAR batches by hand."""

    def array(shape: tuple[int, ...], raw: bytes, kind: str = "u1", fortran: bytes = b"\x89") -> bytes:
        made = call(
            name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), items(number(0)), b"C\1b"
        )
        dtype = call(name("numpy", "dtype"), text(kind), b"\x89", b"\x88")
        state = items(
            number(1), items(*map(number, shape)), dtype, fortran, b"B" + struct.pack("<I", len(raw)) + raw
        )
        return made + state + b"b"

    def batch(data: bytes, labels: bytes, *more: tuple[bytes, bytes]) -> bytes:
        return b"\x80\x02" + entries((b"U\4data", data), (b"U\6labels", labels), *more) + STOP

    good, two = array((2, 3072), bytes(6144)), b"](" + number(0) + number(1) + b"e"
    return [
        Case(what, data, "batch")
        for what, data in {
            "another size": batch(array((3, 3072), bytes(6144)), two), "a shape that overflows": batch(array((1 << 40, 1 << 40), bytes(6144)), two),
            "a negative shape": batch(array((-2, -3072), bytes(6144)), two), "columns first": batch(array((2, 3072), bytes(6144), fortran=b"\x88"), two),
            "objects": batch(array((2, 3072), bytes(6144), "O8"), two), "wider numbers": batch(array((2, 768), bytes(6144), "f4"), two),
            "a text as pixels": batch(b"U\3abc", two), "true as a label": batch(good, b"](\x88\x89e"), "a huge label": batch(good, b"](" + number(1 << 62) + number(0) + b"e"),
            "a negative label": batch(good, b"](" + number(-1) + number(0) + b"e"), "labels that are a text": batch(good, b"U\2ab"), "labels in labels": batch(good, b"](]]e"),
            "fewer labels": batch(good, b"](" + number(0) + b"e"), "no labels": b"\x80\x02" + entries((b"U\4data", good)) + STOP,
            "a call beside": batch(good, two, (b"U\1x", call(name("os", "system"), text("true")))), "a call as labels": batch(good, call(name("builtins", "list"), two)),
            "a call that is dropped": b"\x80\x02" + call(name("posix", "system"), text("true")) + b"0" + batch(good, two)[2:], "a list": b"\x80\x02]" + STOP,
            "an extension": b"\x80\x02\x82\x01" + STOP, "elsewhere": b"\x80\x02U\1xQ" + STOP, "deep": b"\x80\x02" + b")" + b"\x85" * 90_000 + STOP,
            "a name of two modules": batch(good, two, (b"U\1x", name("numpy.core.multiarray numpy", "ndarray"))), "cut short": batch(good, two)[:-40],
        }.items()
    ]  # fmt: skip


CLASSES = {
    "deep": "[" * 90_000, "endless numbers": '{"a": ' + "9" * 6000 + "}", "no number": '{"a": NaN, "b": 1}', "true": '{"a": true, "b": false}',
    "a class of millions": '{"a": 0, "b": 999999999}', "a negative class": '{"a": 0, "b": -1}', "lists in lists": '[["a"], ["b"]]', "nothing": "", "not UTF-8": "\udcff",
    "names that command": '["a\\u001b[31m", "b\\n::error::"]', "others": '{"x": 0, "y": 1}', "long digits": '{"' + "0" * 9000 + '": "a", "1": "b"}',
    "other digits": '{"\\u0660": "a", "\\u0661": "b"}', "nested": '{"id2label": {"id2label": {"0": "a"}}}', "a text": '"ab"', "null": "null",
}  # fmt: skip


def _check(hostile: Hostile, dataset: str, *more: str) -> str:
    hostile.write("model.pt", b"no model")
    return hostile.faults(hostile.run("check", "model.pt", "--dataset", dataset, *more))


def _arrays_and_batches(hostile: Hostile, cases: list[Case]) -> None:
    wrong = []
    (hostile.folder / "cifar-10-batches-py").mkdir()
    for case in cases:
        if case.ending == "npz":
            hostile.write("a.npz", case.data)
            fault = _check(hostile, "a.npz", "--eps", "0.1")
        else:
            (hostile.folder / "cifar-10-batches-py" / "test_batch").write_bytes(case.data)
            fault = _check(hostile, "cifar10", "--data-dir", ".")
        wrong += [f"{case.name}: {fault}"] if fault else []
    assert not wrong, "\n".join(wrong)


def test_a_part_of_the_arrays_and_batches(hostile: Hostile) -> None:
    _arrays_and_batches(hostile, part([*arrays(), *batches()], 4))


@pytest.mark.heavy
def test_all_arrays_and_batches(hostile: Hostile) -> None:
    _arrays_and_batches(hostile, [*arrays(), *batches()])


@pytest.fixture
def pictures(hostile: Hostile) -> Path:
    from PIL import Image

    for label in "ab":
        (hostile.folder / "set" / label).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(hostile.folder / "set" / label / "0.png")
    return hostile.folder / "set"


@pytest.mark.heavy
def test_lists_of_classes(hostile: Hostile, pictures: Path) -> None:
    wrong = []
    for what, content in CLASSES.items():
        (pictures / "classes.json").write_bytes(content.encode(errors="surrogateescape"))
        fault = _check(hostile, "set", "--eps", "0.1")
        wrong += [f"{what}: {fault}"] if fault else []
    assert not wrong, "\n".join(wrong)


def test_folders_with_what_is_no_picture(hostile: Hostile, pictures: Path) -> None:
    """Pipes, folders, devices and links that end nowhere are passed over or named; nothing is waited for."""
    os.mkfifo(pictures / "a" / "1.png")
    (pictures / "a" / "2.png").mkdir()
    (pictures / "a" / "3.png").symlink_to("/dev/zero")
    (pictures / "a" / "4.png").symlink_to("4.png")
    (pictures / "a" / "again").symlink_to("..")
    (pictures / "c\x1b[31m\n::error::x").mkdir()
    (pictures / "classes.json").symlink_to("/dev/zero")
    assert not _check(hostile, "set", "--eps", "0.1")
    (pictures / "b" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    outcome = hostile.run("check", "model.pt", "--dataset", "set", "--eps", "0.1")
    hostile.refused(outcome)
    assert "1.png" in outcome.err


def test_a_split_is_a_name(pictures: Path) -> None:
    """Evidence and policies say which split: no folder outside the one that the user named is read for it."""
    secret = pictures.parent / "secret"
    (pictures / "a").rename(secret)
    (secret / "x").mkdir()
    (secret / "y").mkdir()
    for split in ("../secret", str(secret), "..", ".", "", "a/../../secret", "\0"):
        with pytest.raises(RobauditError, match="is a path"):
            load_images(str(pictures), split=split)
