"""Image files: the named formats only, and none larger than a picture is."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from robaudit.errors import RobauditError
from robaudit.inputs.files.copies import read_copy

#: What Pillow may take a file for, whatever its name says: for some other formats it starts programs.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
#: Pixels of one picture, and bytes of its file.
PIXELS = 1 << 26
BYTES = 1 << 28


def decode(paths: list[Path], limit: int, channels: int | None = None) -> np.ndarray:
    """Image files of one size as uint8 (N, H, W), only where the first file is greyscale, else (N, H, W, 3).

    Args:
        paths: at least one.
        limit: bytes that all together may have.
        channels: 1 or 3, whatever the first file is.

    Raises:
        RobauditError: a file is no image, or sizes differ, or there are too many.

    """
    stack: np.ndarray | None = None
    for row, path in enumerate(paths):
        pixels, channels = _read(path, channels)
        if stack is None:
            if len(paths) * pixels.size > limit:
                raise RobauditError(
                    f"{path.parent}: its images exceed {limit >> 30} GiB; pass a folder with fewer"
                )
            stack = np.empty((len(paths), *pixels.shape), np.uint8)
        if pixels.shape != stack.shape[1:]:
            raise RobauditError(
                f"{path}: size {pixels.shape[:2]} differs from the first image's {stack.shape[1:3]}; resize them"
            )
        stack[row] = pixels
    assert stack is not None
    return stack


def _read(path: Path, channels: int | None) -> tuple[np.ndarray, int]:
    """One picture, and its number of channels: as wanted, else as the file has them."""
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
                channels = channels or (1 if image.mode in ("1", "L", "I;16") else 3)
                return np.asarray(image.convert("L" if channels == 1 else "RGB")), channels
    except RobauditError:
        raise
    except Exception as error:
        raise RobauditError(
            f"{path}: not a readable image ({type(error).__name__}); remove or replace it"
        ) from error
