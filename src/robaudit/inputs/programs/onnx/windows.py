"""ONNX's operators on images: convolutions and pooling in one to three dimensions, and changes of size."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from robaudit.errors import RobauditError
from robaudit.inputs.programs.onnx.shapes import Attributes, Values, as_list
from robaudit.inputs.programs.sizes import bounded


def _same(size: int, kernel: int, stride: int, dilation: int, upper: bool) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def _pads(x: torch.Tensor, a: Attributes, kernel: list[int]) -> list[int]:
    """(left, right, top, bottom, ...) for `F.pad`, last dimension first."""
    count = len(kernel)
    strides, dilations = a.get("strides", [1] * count), a.get("dilations", [1] * count)
    auto = a.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        pairs = [
            _same(x.shape[2 + i], kernel[i], strides[i], dilations[i], auto == b"SAME_UPPER")
            for i in range(count)
        ]
    else:
        pads = a.get("pads", [0] * 2 * count) if auto != b"VALID" else [0] * 2 * count
        pairs = [(pads[i], pads[i + count]) for i in range(count)]
    return bounded([n for pair in reversed(pairs) for n in pair])


def _even(pads: list[int]) -> list[int] | None:
    """Padding that is the same on both sides, first dimension first; None where it is not."""
    near, far = pads[::2], pads[1::2]
    return near[::-1] if near == far and min(near) >= 0 else None


def _padded(image: Any, pads: list[int], value: float = 0.0) -> Any:
    return F.pad(image, pads, value=value) if any(pads) else image


def convolution(x: Values, a: Attributes) -> torch.Tensor:
    """Conv."""
    weight, bias = x[1], x[2] if len(x) > 2 else None
    count = weight.ndim - 2
    pads = _pads(x[0], a, list(weight.shape[2:]))
    even = _even(pads)
    image = x[0] if even else _padded(x[0], pads)
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[count]
    strides, dilations = a.get("strides", [1] * count), a.get("dilations", [1] * count)
    return convolve(image, weight, bias, strides, even or 0, dilations, a.get("group", 1))


def _windows(x: torch.Tensor, a: Attributes) -> tuple[list[int], list[int]]:
    """Padding as `_pads`, and what rounding the number of windows up adds at each end's far side.

    A window that would begin in the far padding is left out.
    """
    kernel = a["kernel_shape"]
    count = len(kernel)
    strides, dilations = a.get("strides", [1] * count), a.get("dilations", [1] * count)
    pads = _pads(x, a, kernel)
    extra = [0] * (2 * count)
    if a.get("ceil_mode", 0):
        for i in range(count):
            near, far = pads[2 * (count - 1 - i)], pads[2 * (count - 1 - i) + 1]
            size, reach = x.shape[2 + i], (kernel[i] - 1) * dilations[i] + 1
            steps = -(-(size + near + far - reach) // strides[i])
            steps -= steps * strides[i] >= size + near
            extra[2 * (count - 1 - i) + 1] = max(steps * strides[i] + reach - size - near - far, 0)
    return pads, bounded(extra)


def _inner(pads: list[int], extra: list[int], kernel: list[int]) -> list[int] | None:
    """Padding as torch's pooling takes it; None where it does not."""
    even = _even(pads)
    fits = even and not any(extra) and all(2 * pad <= size for pad, size in zip(even, kernel, strict=True))
    return even if fits else None


def max_pool(x: Values, a: Attributes) -> torch.Tensor:
    """MaxPool."""
    kernel = a["kernel_shape"]
    pads, extra = _windows(x[0], a)
    inner = _inner(pads, extra, kernel)
    both = [p + e for p, e in zip(pads, extra, strict=True)]
    image = x[0] if inner else _padded(x[0], both, -math.inf)
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(kernel)]
    return pool(image, kernel, a.get("strides", [1] * len(kernel)), inner or 0, a.get("dilations", 1))


def average_pool(x: Values, a: Attributes) -> torch.Tensor:
    """AveragePool, with or without the padding in the count."""
    kernel, counted = a["kernel_shape"], bool(a.get("count_include_pad", 0))
    pads, extra = _windows(x[0], a)
    inner = _inner(pads, extra, kernel)
    if inner and set(a.get("dilations", [1])) == {1}:
        pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(kernel)]
        return pool(x[0], kernel, a.get("strides", [1] * len(kernel)), inner, False, counted)
    total = _window_sums(_padded(_padded(x[0], pads), extra), a)
    inside = F.pad(torch.ones(1, 1, *x[0].shape[2:]), pads, value=float(counted))
    return total / _window_sums(F.pad(inside, extra), a)


def _window_sums(image: torch.Tensor, a: Attributes) -> torch.Tensor:
    kernel = a["kernel_shape"]
    strides, dilations = a.get("strides", [1] * len(kernel)), a.get("dilations", [1] * len(kernel))
    if set(dilations) == {1}:
        pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(kernel)]
        return pool(image, kernel, strides) * math.prod(kernel)
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(kernel)]
    sums = convolve(image.flatten(0, 1).unsqueeze(1), torch.ones(1, 1, *kernel), None, strides, 0, dilations)
    return sums.reshape(*image.shape[:2], *sums.shape[2:])


def transposed_convolution(x: Values, a: Attributes) -> torch.Tensor:
    """ConvTranspose with explicit padding."""
    count = x[1].ndim - 2
    if a.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in a:
        raise RobauditError("uses ConvTranspose with padding that depends on the output; export it again")
    pads, ones = a.get("pads", [0] * 2 * count), [1] * count
    more = [far - near for near, far in zip(pads[:count], pads[count:], strict=True)]
    extra = [o - m for o, m in zip(a.get("output_padding", [0] * count), more, strict=True)]
    convolve = {1: F.conv_transpose1d, 2: F.conv_transpose2d}[count]
    bias = x[2] if len(x) > 2 else None
    strides, dilations = a.get("strides", ones), a.get("dilations", ones)
    return convolve(x[0], x[1], bias, strides, pads[:count], extra, a.get("group", 1), dilations)


def resize(x: Values, a: Attributes) -> torch.Tensor:
    """Images larger or smaller by nearest, linear or cubic interpolation, in the ways that PyTorch writes.

    Raises:
        RobauditError: another way, or other axes than height and width.

    """
    image = x[0]
    scales = x[2] if len(x) > 2 and x[2] is not None and x[2].numel() else None
    if len(x) == 2:  # Upsample, and Resize of operator set 10
        scales = x[1]
    if "scales" in a:
        scales = torch.tensor(a["scales"])
    if len(x) > 3 and x[3] is not None:
        sizes = as_list(x[3])[-2:]
    elif scales is not None:
        sizes = [int(n * float(f)) for n, f in zip(image.shape[-2:], scales.flatten()[-2:], strict=True)]
    else:
        raise RobauditError("has a Resize without scales; export it again")
    mode, how = a.get("mode", b"nearest"), a.get("coordinate_transformation_mode", b"half_pixel")
    how = b"asymmetric" if a["_opset"] < 11 else how
    whole = all(big % small == 0 for big, small in zip(sizes, image.shape[-2:], strict=True))
    bounded([*image.shape[:-2], *sizes])
    if mode == b"nearest" and (how == b"asymmetric" or whole):
        return F.interpolate(image, sizes, mode="nearest")
    smooth = {b"linear": "bilinear", b"cubic": "bicubic"} if a.get("cubic_coeff_a", -0.75) == -0.75 else {}
    if mode in smooth and how in (b"half_pixel", b"pytorch_half_pixel", b"align_corners"):
        return F.interpolate(image, sizes, mode=smooth[mode], align_corners=how == b"align_corners")
    raise RobauditError(
        f"uses Resize in the mode {mode[:20]!r}, {how[:30]!r}, not supported; pass the PyTorch checkpoint"
    )


def depth_to_space(x: Values, a: Attributes) -> torch.Tensor:
    """Channels into blocks of pixels."""
    size, (n, channels, height, width) = a["blocksize"], x[0].shape
    if a.get("mode", b"DCR") == b"CRD":
        return F.pixel_shuffle(x[0], size)
    parts = x[0].reshape(n, size, size, channels // size**2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, channels // size**2, height * size, width * size)


def space_to_depth(x: Values, a: Attributes) -> torch.Tensor:
    """Blocks of pixels into channels."""
    size, (n, channels, height, width) = a["blocksize"], x[0].shape
    if a.get("mode", b"DCR") == b"CRD":
        return F.pixel_unshuffle(x[0], size)
    parts = x[0].reshape(n, channels, height // size, size, width // size, size)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, channels * size**2, height // size, width // size)
