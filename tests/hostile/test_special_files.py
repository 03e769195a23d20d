"""Paths that are not plain files, files that change while they are read, and files that are another than was checked."""

from __future__ import annotations

import os
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier
from robaudit.inputs.files.archives import open_archive
from robaudit.inputs.files.copies import FileCopy, read_copy
from tests.hostile.assembling import archive, model, saved, tensor, zipped
from tests.hostile.harness import Hostile
from tests.shipped import ADVERSARIAL


@pytest.mark.parametrize("ending", ["pt", "npz"])
def test_no_plain_file(hostile: Hostile, ending: str) -> None:
    folder = hostile.folder
    (folder / f"folder.{ending}").mkdir()
    os.mkfifo(folder / f"pipe.{ending}")
    (folder / f"zero.{ending}").symlink_to("/dev/zero")
    (folder / f"loop.{ending}").symlink_to(f"loop.{ending}")
    (folder / f"dangling.{ending}").symlink_to("nothing")
    (folder / f"process.{ending}").symlink_to("/proc/self/mem")
    (folder / f"sparse.{ending}").touch()
    os.truncate(folder / f"sparse.{ending}", 300 << 30)
    (folder / f"empty.{ending}").touch()
    for name in ("folder", "pipe", "zero", "loop", "dangling", "process", "sparse", "empty"):
        path = f"{name}.{ending}"
        data = ("check", ADVERSARIAL, "--dataset", path, "--eps", "0.1")
        hostile.refused(hostile.run(*(("inspect", path) if ending == "pt" else data), seconds=20))
    hostile.refused(hostile.run("inspect", "a\0b.pt"))
    hostile.refused(hostile.run("inspect", "x" * 300))


def test_pictures_that_are_none(hostile: Hostile) -> None:
    (hostile.folder / "set" / "0").mkdir(parents=True)
    (hostile.folder / "set" / "1").mkdir()
    shutil.copy(_png(hostile.folder / "good.png"), hostile.folder / "set" / "0" / "a.png")
    command = ("check", ADVERSARIAL, "--dataset", "set", "--eps", "0.1")
    script = (
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n({hostile.canary}) (w) file closefile\nshowpage\n"
    )
    for name, data in {
        "a.png": script.encode(), "b.jpg": script.encode(), "c.tif": b"GIF89a" + bytes(20), "d.bmp": b"8BPS" + bytes(30),
        "e.webp": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(40), "f.png": b"SIMPLE  =                    T" + bytes(3000),
        "g.ppm": b"P6 60000 60000 255\n", "h.png": _header(60000, 60000), "i.png": b"%PDF-1.4", "j.png": b"",
    }.items():  # fmt: skip
        path = hostile.folder / "set" / "1" / name
        path.write_bytes(data)
        outcome = hostile.run(*command)
        hostile.refused(outcome)
        assert name in outcome.err
        path.unlink()


def _png(path: Path) -> Path:
    from PIL import Image

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    return path


def _header(width: int, height: int) -> bytes:
    from tests.hostile.mutating_data import chunk

    sizes = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", sizes) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")


def test_what_is_loaded_is_what_was_hashed(tmp_path: Path) -> None:
    """Another file takes the path's place again and again: what comes is either, whole, under its own digest."""
    path, files = tmp_path / "a.pt", []
    for value in (1.0, 2.0):
        torch.manual_seed(0)
        state = {"0.weight": torch.full((10, 64), value), "0.bias": torch.arange(10.0) * value}
        files.append(saved(state))
    known = {FileCopy(path, data).sha256: value for data, value in zip(files, (1.0, 2.0), strict=True)}
    path.write_bytes(files[0])
    over = threading.Event()

    def swap() -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            (tmp_path / "next").write_bytes(files[turn % 2])
            (tmp_path / "next").replace(path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(10):
            found = load_classifier(str(path), arch="sequential:flatten fcK", shape=(1, 8, 8))
            assert {p.flatten()[-1].item() for p in found.parameters()} == {
                known[found.info.sha256],
                9 * known[found.info.sha256],
            }
    finally:
        over.set()
        thread.join()


def test_a_file_cut_short_afterwards_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(archive(model(tensor((10, 10), (10, 1)))) + b"")
    copy = read_copy(path)
    os.truncate(path, 0)
    assert open_archive(copy).read("a/data/0", 1000) == np.ones(100, np.float32).tobytes()
    with pytest.raises(RobauditError, match="empty"):
        read_copy(path)


def test_readers_that_differ(hostile: Hostile) -> None:
    """Archives that two readers understand differently are refused, whatever is in them."""
    good = archive(model(tensor((10, 10), (10, 1))))
    assert open_archive(FileCopy(Path("a"), good)).names[0] == "a/data.pkl"
    local = bytearray(good)
    local[30:40] = b"a/datb.pkl"
    changed = {
        "a local name that differs": bytes(local),
        "a local flag that differs": good[:6] + b"\x08" + good[7:],
        "a local method that differs": good[:8] + b"\x08" + good[9:],
        "a local size that differs": good[:22] + b"\x01" + good[23:],
        "bytes in front": b"\0" * 64 + good,
        "bytes behind": good + b"\0" * 64,
        "two archives": good + good,
    }
    for what, data in changed.items():
        with pytest.raises(RobauditError, match=r"get another copy|download it again"):
            open_archive(FileCopy(Path(what), data))
    bomb = zipped([("a/data.pkl", bytes(1 << 26))], zipfile.ZIP_DEFLATED)
    with pytest.raises(RobauditError, match="bomb"):
        open_archive(FileCopy(Path("bomb"), bomb))
    assert open_archive(FileCopy(Path("bomb"), bomb), 1 << 27).size("a/data.pkl") == 1 << 26
    hostile.refused(hostile.run("inspect", hostile.write("a.pt", changed["two archives"])))
