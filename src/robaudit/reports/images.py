"""Small images as PNG data URIs, without an imaging library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

#: Pixels along a side; larger images are thinned to this.
_LARGEST_SIDE = 512


def png_uri(image: NDArray[np.float32]) -> str:
    """(C, H, W) in [0, 1], one or three channels (of others the first), as a `data:` URI."""
    step = -(-max(image.shape[1:]) // _LARGEST_SIDE)
    image = image[:, ::step, ::step]
    pixels = np.rint(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    if len(pixels) != 3:
        pixels = pixels[:1]
    channels, height, width = pixels.shape
    rows = np.moveaxis(pixels, 0, 2).reshape(height, -1)
    raw = np.concatenate(
        [np.zeros((height, 1), np.uint8), rows], axis=1
    ).tobytes()  # filter 0 before each row
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def perturbation_uri(clean: NDArray[np.float32], adversarial: NDArray[np.float32]) -> str:
    """The difference as a PNG: grey where nothing changed, and the largest change black or white."""
    delta = adversarial - clean
    most = float(np.abs(delta).max()) or 1.0
    return png_uri((delta / most / 2 + 0.5).astype(np.float32))
