"""Image files: the named formats only, none larger than a picture is, and every depth scaled right or refused."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from robaudit.errors import RobauditError
from robaudit.inputs.files.copies import read_copy
from robaudit.preprocessing import crop_sizes

#: What Pillow may take a file for, whatever its name says: for some other formats it starts programs.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
#: Pixels of one picture, and bytes of its file.
PIXELS = 1 << 26
BYTES = 1 << 28
#: Modes of greyscale pictures: of up to 8 bits, of whole numbers of 16 or 32 bits, of floats.
GREY, DEEP, FLOATS = ("1", "L", "LA", "La"), ("I;16", "I;16L", "I;16B", "I;16N", "I"), "F"
#: The full scale of 16 bits. What stays below half of it is likely of fewer bits, which the file does not tell.
FULL = 65535
#: The longest side that a picture is resized to.
_LONGEST = 1 << 15


@dataclass(frozen=True)
class Crop:
    """The usual way of ImageNet's images: the shorter side to `resize`, bilinear, then the `side` x `side` middle.

    With `spare` a picture that has this size already stays as it is.
    """

    side: int
    resize: int
    spare: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """`224`, which resizes to 256 and in that proportion, or `224:232`.

        Raises:
            RobauditError: no such sizes.

        """
        return cls(*crop_sizes(text))

    def cut(self, image: Image.Image) -> Image.Image:
        """The middle of a picture, as torchvision's Resize and CenterCrop cut it."""
        width, height = image.size
        if self.spare and (width, height) == (self.side, self.side):
            return image
        short = min(width, height)
        size = (int(self.resize * width / short), int(self.resize * height / short))
        if max(size) > _LONGEST:
            raise RobauditError(f"{width} x {height} pixels are too long to be resized")
        left, top = (round((whole - self.side) / 2) for whole in size)
        resized = image.resize(size, Image.Resampling.BILINEAR)
        return resized.crop((left, top, left + self.side, top + self.side))


def decode(
    paths: list[Path], limit: int, channels: int | None = None, crop: Crop | None = None
) -> np.ndarray:
    """Image files of one size as (N, H, W) where all are greyscale, else (N, H, W, 3).

    Args:
        paths: at least one.
        limit: bytes that all together may have.
        channels: 1 or 3, whatever the files are.
        crop: makes one size of all.

    Returns:
        uint8, or float32 in [0, 1] where greyscale files have more than 8 bits.

    Raises:
        RobauditError: a file is not an image, or sizes or depths differ, or there are too many, or white is unknown.

    """
    stack: np.ndarray | None = None
    for row, path in enumerate(paths):
        pixels = _read(path, channels, crop)
        if stack is None:
            stack = _room(paths, pixels, limit)
        if pixels.shape[:2] != stack.shape[1:3]:
            way = (
                "greyscale of more than 8 bits is not resized, write all of one size"
                if crop
                else "pass --image-size with the side that the network takes, such as --image-size 224"
            )
            raise RobauditError(
                f"{path}: size {pixels.shape[:2]} differs from the first image's {stack.shape[1:3]}; {way}"
            )
        if pixels.dtype != stack.dtype:
            raise RobauditError(
                f"{path}: has pixels of another depth than the first image; write all of them alike"
            )
        if pixels.ndim == 3 and stack.ndim == 3:
            if channels is None and not _is_grey(pixels):  # the first files were grey, this one is not
                grey, stack = stack, _room(paths, pixels, limit)
                stack[:row] = grey[:row, ..., None]
            else:
                pixels = pixels[..., 0]
        stack[row] = pixels[..., None] if pixels.ndim < stack.ndim - 1 else pixels
    assert stack is not None
    return stack if stack.dtype == np.uint8 else _scaled(stack, paths[0].parent)


def _room(paths: list[Path], pixels: np.ndarray, limit: int) -> np.ndarray:
    if len(paths) * pixels.nbytes > limit:
        raise RobauditError(
            f"{paths[0].parent}: its images exceed {limit >> 30} GiB; pass a folder with fewer"
        )
    return np.empty((len(paths), *pixels.shape), pixels.dtype)


def _is_grey(pixels: np.ndarray) -> bool:
    """Whether a picture's three channels are one."""
    return bool((pixels == pixels[..., :1]).all())


def _read(path: Path, channels: int | None, crop: Crop | None) -> np.ndarray:
    """One picture: uint8 (H, W) or (H, W, 3), as wanted or as the file has it; deeper ones int32 or float32 (H, W)."""
    copy = read_copy(path, BYTES, "images")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(copy.stream(), formats=FORMATS) as image:
                width, height = image.size
                if width * height > PIXELS:
                    raise RobauditError(
                        f"{path}: has {width} x {height} pixels, more than are read; remove it"
                    )
                if crop and image.mode not in (*DEEP, FLOATS):
                    grey = channels == 1 or (channels is None and image.mode in GREY)
                    return np.asarray(crop.cut(image.convert("L" if grey else "RGB")))
                if image.mode in DEEP and channels != 3:
                    return np.asarray(image).astype(np.int32)
                if image.mode == FLOATS and channels != 3:
                    return np.asarray(image).astype(np.float32)
                if image.mode in (*DEEP, FLOATS):
                    raise RobauditError(
                        f"{path}: is greyscale of more than 8 bits, colour is expected; write it as RGB"
                    )
                grey = channels == 1 or (channels is None and image.mode in GREY)
                return np.asarray(image.convert("L" if grey else "RGB"))
    except RobauditError:
        raise
    except Exception as error:
        raise RobauditError(
            f"{path}: not a readable image ({type(error).__name__}); remove or replace it"
        ) from error


def _scaled(stack: np.ndarray, folder: Path) -> np.ndarray:
    """Deep greyscale pictures as float32 in [0, 1], where they tell what is white."""
    low, high = stack.min(), stack.max()
    if stack.dtype == np.float32:
        if not (np.isfinite(stack).all() and low >= 0 and high <= 1):
            raise RobauditError(
                f"{folder}: its images are of floats from {low:.3g} to {high:.3g}; write them in [0, 1]"
            )
        return stack
    if low < 0 or high > FULL or high <= FULL // 2:
        bits = f", as of {int(high).bit_length()} bits" if 255 < high <= FULL // 2 else ""
        raise RobauditError(
            f"{folder}: its images have more than 8 bits and run from {low} to {high}{bits}, which does not tell "
            f"what is white; write them with 0 to {FULL}, with 8 bits, or as floats in [0, 1]"
        )
    return stack.astype(np.float32) / np.float32(FULL)
