"""Images and witnesses as few bytes, exactly.

A witness is kept as whole multiples of a step, decoded and sealed again; the coarsest form that the model
still misclassifies is the one to keep. `WITNESS_LEVELS` are the forms to try, coarsest first.
"""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence.ball import Floats, seal
from robaudit.plan import ThreatModel

#: Steps from the centre to the edge of a coordinate's range; 0 stands for the float32 values themselves.
WITNESS_LEVELS: tuple[int, ...] = (1, 15, 127, 0)
_HEAD = struct.Struct("<Bd")


def _inflate(blob: bytes, size: int) -> bytes:
    """Exactly `size` bytes, or a ValueError: a stranger's file cannot make us allocate more."""
    engine = zlib.decompressobj()
    try:
        data = engine.decompress(blob, size + 1)
    except zlib.error as error:
        raise ValueError(f"compressed data is damaged: {error}") from error
    if len(data) != size:
        raise ValueError("compressed data has the wrong length")
    return data


def _floats(blob: bytes, shape: tuple[int, ...]) -> Floats:
    """Numbers in [0, 1], or a ValueError."""
    values = np.frombuffer(_inflate(blob, 4 * math.prod(shape)), "<f4").reshape(shape).astype(np.float32)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("pixels are not in [0, 1]")
    return values


def encode_witness(x_adv: Floats, x: Floats, threat: ThreatModel, level: int) -> bytes:
    """One witness, (C, H, W) float32, at one of `WITNESS_LEVELS`."""
    if level == 0:
        return _HEAD.pack(0, 0.0) + zlib.compress(np.ascontiguousarray(x_adv, "<f4").tobytes(), 6)
    delta = x_adv.astype(np.float64) - x.astype(np.float64)
    reach = threat.eps if threat.norm == "Linf" else float(np.abs(delta).max())
    scale = reach / level or 1.0
    steps = np.clip(np.rint(delta / scale), -level, level).astype(np.int8)
    if threat.norm == "Linf":  # stopped by 0 or 1 rather than by the ball: as far as it goes, all the same
        steps[(delta > 0) & (x_adv >= 1)] = level
        steps[(delta < 0) & (x_adv <= 0)] = -level
    # At level 1, two planes of bits: where it moves, and which way.
    raw = np.packbits(np.stack([steps != 0, steps > 0]).reshape(2, -1), axis=1) if level == 1 else steps
    return _HEAD.pack(level, scale) + zlib.compress(raw.tobytes(), 9)


def decode_witness(blob: bytes, x: Floats, threat: ThreatModel) -> Floats:
    """The witness that `encode_witness` kept, (C, H, W) float32, sealed inside the ball.

    Raises:
        ValueError: the bytes are damaged.

    """
    if len(blob) < _HEAD.size:
        raise ValueError("witness is truncated")
    level, scale = _HEAD.unpack_from(blob)
    body, size = blob[_HEAD.size :], x.size
    if level == 0:
        return _floats(body, x.shape)
    if level not in WITNESS_LEVELS or not 0 <= scale <= 1:
        raise ValueError("witness is damaged")
    if level == 1:
        plane = -(-size // 8)
        raw = np.frombuffer(_inflate(body, 2 * plane), np.uint8)
        moves = np.unpackbits(raw[:plane], count=size).astype(np.int8)
        steps = moves * (2 * np.unpackbits(raw[plane:], count=size).astype(np.int8) - 1)
    else:
        steps = np.frombuffer(_inflate(body, size), np.int8)
    moved = x.astype(np.float64) + steps.reshape(x.shape) * float(scale)
    return seal(moved[None], x[None], threat)[0]


def encode_image(pixels: NDArray[np.uint8] | Floats) -> bytes:
    """One image (C, H, W), uint8 or float32, losslessly: second differences of uint8, plainly otherwise."""
    if pixels.dtype != np.uint8:
        return b"f" + zlib.compress(np.ascontiguousarray(pixels, "<f4").tobytes(), 6)
    a = pixels.copy()
    if len(a) == 3:  # colours go up and down together
        a[0] -= pixels[1]
        a[2] -= pixels[1]
    a = np.diff(np.diff(a, axis=2, prepend=np.uint8(0)), axis=1, prepend=np.uint8(0))
    return b"u" + zlib.compress(a.tobytes(), 9)


def decode_image(blob: bytes, shape: tuple[int, int, int]) -> Floats:
    """The image as float32 in [0, 1], (C, H, W).

    Raises:
        ValueError: the bytes are damaged or of another shape.

    """
    size = math.prod(shape)
    if blob[:1] == b"f":
        return _floats(blob[1:], shape)
    if blob[:1] != b"u":
        raise ValueError("image is damaged")
    a = np.frombuffer(_inflate(blob[1:], size), np.uint8).reshape(shape)
    a = np.cumsum(np.cumsum(a, axis=1, dtype=np.uint8), axis=2, dtype=np.uint8)
    if shape[0] == 3:
        a[0] += a[1]
        a[2] += a[1]
    return a.astype(np.float32) / np.float32(255)
