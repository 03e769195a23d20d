"""The data sets known by name, and the one way in for images of any origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robaudit.datasets import DATASETS, DatasetSpec, no_such_data
from robaudit.errors import RobauditError
from robaudit.inputs.data import readers as files
from robaudit.inputs.data.folders import read_folder
from robaudit.inputs.data.images import Images, make_images
from robaudit.inputs.data.pictures import Crop
from robaudit.inputs.data.reachability import careful, unreachable
from robaudit.inputs.data.user_files import read_npz, read_safetensors
from robaudit.inputs.files.copies import exists
from robaudit.places import data_folder, expanded
from robaudit.sandbox import Limits, Parts, in_child
from robaudit.spelling import unknown

#: `(data_dir, split)` to what is found, for every data set with a name; `files.Absent` where there are no files.
READERS: dict[str, Callable[[Path, str], Parts]] = {
    "cifar10": files.cifar10,
    "cifar100": files.cifar100,
    "tiny-imagenet": files.tiny_imagenet,
    "mnist": files.mnist,
    "fashion-mnist": files.fashion_mnist,
    "svhn": files.svhn,
    "digits": files.digits,
}


def load_images(  # noqa: PLR0913  one data set; all but the first by keyword
    source: str,
    *,
    data_dir: str | Path | None = None,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    download: bool | Callable[[str], bool] = False,
    image_size: str | None = None,
    usual_size: str = "",
) -> Images:
    """Images by data set name, or from a folder of class folders, an `.npz` or a `.safetensors` file.

    Args:
        source: a name in `DATASETS` or a path. Files hold `images` (uint8, or float in [0, 1]; (N, H, W),
            (N, H, W, C) or (N, C, H, W)) and `labels` (N,), or the same under other usual names.
        data_dir: where named data sets lie, in torchvision's layout; `ROBAUDIT_DATA` or a cache folder by default.
        split: `test` or `train` of a named set; of a folder the subfolder, of a file the arrays of that name, if any.
        limit: at most this many examples, drawn by `seed`, class-balanced (in proportion where the split is
            unbalanced); None takes all.
        seed: fixes the subset and the order.
        download: fetch an absent named set through torchvision; a function is asked, with the name.
        image_size: of the pictures in a folder: `224` resizes the shorter side to 256 and takes the middle, `224:232`
            says both.
        usual_size: likewise, where `image_size` is None: what the model's own settings say. Pictures of that size stay
            as they are, and what is no folder is as well.

    Returns:
        Images in a random order fixed by `seed`; every prefix is a simple random sample.

    Raises:
        RobauditError: nothing there, not downloaded, or not what such a file holds.

    """
    path = expanded(source)
    if split in ("", ".", "..") or set(split) & set("/\\\0"):  # evidence names one too, and chooses no folder
        raise RobauditError(f"split '{split}': is a path; expected a name such as test or train")
    crop = Crop.parse(image_size) if image_size else None
    if crop and not path.is_dir():
        raise RobauditError(f"{source}: --image-size is for folders of pictures; leave it out")
    if source in DATASETS:
        images = _load_named(source, data_dir, split, download)
    elif not exists(path):
        raise RobauditError(no_such_data(source))
    elif path.is_dir():
        crop = crop or (replace(Crop.parse(usual_size), spare=True) if usual_size else None)
        images = _read(str(path), split, lambda: read_folder(path, split, crop))
        images = replace(images, notes=_resized(crop))
    elif path.suffix == ".npz" and path.is_file():
        images = _read(str(path), split, lambda: read_npz(path, split))
    elif path.suffix == ".safetensors" and path.is_file():
        images = _read(str(path), split, lambda: read_safetensors(path, split))
    else:
        raise RobauditError(
            f"{source}: not a data set; pass a folder of class folders, an .npz or a .safetensors file"
        )
    return images.subset(limit, seed)


def _resized(crop: Crop | None) -> tuple[str, ...]:
    """What is told where nobody asked for it."""
    if crop is None or not crop.spare:
        return ()
    side = crop.side
    return (
        f"the JSON beside the model says that images of {side} x {side} go in: pictures of other sizes are resized as "
        f"--image-size {side}:{crop.resize} does",
    )


#: Processor time that reading a data set may take: a folder may hold a million pictures.
SECONDS = 1800


def _read(name: str, split: str, reader: Callable[[], Parts]) -> Images:
    """Let a reader run in a child process, and check what it found.

    Raises:
        RobauditError: it cannot be read, or holds no images with labels.
        files.Absent: its files are not there.

    """

    def read() -> Parts:
        try:
            return reader()
        except files.Absent as absent:
            return {"absent": str(absent)}

    found = (
        read() if name == "digits" else in_child(name, read, Limits(SECONDS))
    )  # which come with scikit-learn
    if "absent" in found:
        raise files.Absent(found["absent"])
    return make_images(
        torch.from_numpy(np.ascontiguousarray(found["pixels"])),
        torch.from_numpy(np.ascontiguousarray(found["labels"])),
        name=name,
        split=split,
        classes=found["classes"],
        class_names=tuple(found["class_names"]),
    )


def _load_named(
    name: str, data_dir: str | Path | None, split: str, download: bool | Callable[[str], bool]
) -> Images:
    spec = DATASETS[name]
    if split not in spec.splits:
        raise RobauditError(unknown("split", split, spec.splits))
    root = Path(data_dir or data_folder())
    try:
        return _read(name, split, lambda: READERS[name](root, split))
    except files.Absent as absent:
        if not (download(name) if spec.torchvision and callable(download) else download):
            ways = "pass --download, or" if spec.torchvision else "pass"
            raise RobauditError(
                f"{name}: {absent} is not in {root}; {ways} --data-dir (or set ROBAUDIT_DATA) "
                "with the folder that holds it"
            ) from absent
        if not spec.torchvision:
            raise RobauditError(
                f"{name}: cannot be downloaded by robaudit; unpack {absent} yourself and pass --data-dir"
            ) from absent
    _download(name, spec, root, split)
    try:
        return _read(name, split, lambda: READERS[name](root, split))
    except files.Absent as absent:
        raise RobauditError(
            f"{name}: downloaded to {root}, but {absent} is still missing; pass --data-dir"
        ) from absent


def _download(name: str, spec: DatasetSpec, root: Path, split: str) -> None:
    """Let torchvision fetch the set into `root`; it checks the files' own digests."""
    from torchvision import datasets  # noqa: PLC0415  a second to import, rarely needed

    fetch = getattr(datasets, spec.torchvision)
    which = {"split": split} if spec.torchvision == "SVHN" else {"train": split == "train"}
    reason = unreachable(_sources(fetch, split))
    if reason:
        raise RobauditError(f"{name}: cannot be downloaded ({reason}); fetch it yourself and pass --data-dir")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with careful():
            fetch(str(root), download=True, **which)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RobauditError(
            f"{name}: download failed ({reason}); fetch it yourself and pass --data-dir"
        ) from error


def _sources(fetch: Any, split: str) -> list[str]:
    """Where a torchvision class downloads from."""
    listed = getattr(fetch, "split_list", {}).get(split, ())
    return [*getattr(fetch, "mirrors", ()), *([fetch.url] if hasattr(fetch, "url") else []), *listed[:1]]
