"""Data sets through archives and back, bit for bit."""

import shutil

import numpy as np
import pytest

from robaudit.inputs import load_images


@pytest.fixture(scope="module")
def packed(cifar100, tmp_path_factory):
    import gpu

    folder = tmp_path_factory.mktemp("packed")
    np.savez(
        cifar100 / "mnist-test.npz",
        images=np.random.default_rng(2).integers(0, 256, (130, 28, 28)).astype(np.uint8),
        labels=np.arange(130) % 10,
    )
    assert gpu.main(["pack", str(folder), "--data-dir", str(cifar100)]) == 0
    (cifar100 / "mnist-test.npz").rename(folder / "original.npz")
    return folder


WHOLE = {"cifar100": ("train", "test"), "mnist": ("test",)}


def test_what_is_unpacked_is_what_was_packed(packed, cifar100, tmp_path):
    from gpu_stages.archives import data_folder

    assert sorted(path.name for path in packed.glob("*.zip")) == [
        "cifar100-1.zip",
        "cifar100-2.zip",
        "tests.zip",
    ]
    folder = data_folder(packed, tmp_path, WHOLE)
    assert folder == tmp_path
    for split in ("train", "test"):
        ours = load_images("cifar100", data_dir=folder, split=split)
        theirs = load_images("cifar100", data_dir=cifar100, split=split)
        assert ours.sha256 == theirs.sha256
        assert (ours.ids == theirs.ids).all()
    original = load_images(str(packed / "original.npz"))
    assert load_images("mnist", data_dir=folder).pixels.eq(original.pixels).all()


def test_a_folder_of_data_sets_is_taken_as_it_is(cifar100, tmp_path):
    from gpu_stages.archives import data_folder

    assert data_folder(cifar100, tmp_path, WHOLE) == cifar100


def test_fewer_images_are_packed_when_asked(cifar100, tmp_path, gpu):
    from gpu_stages.archives import data_folder

    assert gpu("pack", tmp_path, "--data-dir", cifar100, "--train", 120, "--test", 30) == 0
    folder = data_folder(tmp_path, tmp_path / "scratch", WHOLE)
    for split, count in (("train", 120), ("test", 30)):
        images = load_images("cifar100", data_dir=folder, split=split)
        assert len(images) == count
        assert images.labels.bincount().tolist() == [count // 2] * 2


def test_the_first_archive_is_enough_to_test_on(packed, tmp_path):
    from gpu_stages.archives import data_folder

    shutil.copy(packed / "cifar100-1.zip", tmp_path)
    folder = data_folder(tmp_path, tmp_path / "scratch", {"cifar100": ("test",)})
    assert len(load_images("cifar100", data_dir=folder)) == 200


def test_a_missing_or_damaged_archive_is_one_line(packed, tmp_path, gpu, capsys):
    flags = ("--minutes", 1, "--out", tmp_path / "out", "--device", "cpu", "--dry-run")
    shutil.copy(packed / "cifar100-1.zip", tmp_path)
    assert gpu("collapse", "--data-dir", tmp_path, *flags) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'cifar100-2.zip'}: is missing")
    damaged = bytearray((packed / "cifar100-2.zip").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "cifar100-2.zip").write_bytes(damaged)
    assert gpu("collapse", "--data-dir", tmp_path, *flags) == 2
    error = capsys.readouterr().err
    assert "is damaged" in error
    assert len(error.splitlines()) == 1


def test_without_data_a_stage_says_what_is_missing(tmp_path, gpu, capsys):
    for stage in ("collapse", "speed"):
        out = tmp_path / stage
        assert (
            gpu(stage, "--data-dir", tmp_path, "--minutes", 1, "--out", out, "--dry-run", "--device", "cpu")
            == 2
        )
        assert "cifar100: cifar-100-python/" in capsys.readouterr().err
        assert not out.exists()
    assert gpu("pack", tmp_path / "packed", "--data-dir", tmp_path) == 2


@pytest.mark.data
def test_real_images_come_back_bit_for_bit_and_fit_two_archives(data_dir):
    from gpu_stages.archives import COLUMN, MOST_BYTES, decode, encode

    images = load_images("cifar100", data_dir=data_dir, split="train", limit=4 * COLUMN, seed=0)
    pixels = images.pixels.numpy()
    size = 0
    for first in range(0, len(pixels), COLUMN):
        column = pixels[first : first + COLUMN]
        data = encode(column)
        assert (decode(data, (3, 32, 32)) == column).all()
        size += len(data)
    assert 60_000 * size / len(pixels) < 2 * MOST_BYTES


@pytest.mark.data
@pytest.mark.heavy
def test_the_whole_of_cifar100_fits_two_archives_and_comes_back(data_dir, tmp_path):
    from gpu_stages.archives import MOST_BYTES, data_folder, pack

    written = pack(data_dir, tmp_path)
    assert all(path.stat().st_size <= MOST_BYTES for path in written)
    folder = data_folder(tmp_path, tmp_path / "scratch", {"cifar100": ("train", "test")})
    for split in ("train", "test"):
        ours, theirs = (load_images("cifar100", data_dir=place, split=split) for place in (folder, data_dir))
        assert ours.sha256 == theirs.sha256
