"""Convolutions, norms, pooling and other layers, with the parameters of PyTorch's schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F

from robaudit.errors import RobauditError
from robaudit.inputs.programs.sizes import bounded

_FORWARD = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
_BACKWARD = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}


def _convolve(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    return _FORWARD[weight.ndim](input, weight, bias, stride, padding, dilation, groups)


def _convolution(  # noqa: PLR0913, PLR0917
    input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int, *_: Any,
) -> Any:  # fmt: skip
    if not transposed:
        return _convolve(input, weight, bias, stride, padding, dilation, groups)
    return _transposed(input, weight, bias, stride, padding, output_padding, groups, dilation)


def _transposed(  # noqa: PLR0913, PLR0917
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    return _BACKWARD[weight.ndim](input, weight, bias, stride, padding, output_padding, groups, dilation)


def affine(self: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    """`addmm`: a linear layer where its factors are one."""
    if alpha == beta == 1 and self.ndim == 1:
        return F.linear(mat1, mat2.T, self)
    return self * beta + (mat1 @ mat2) * alpha


def _batch_norm(  # noqa: PLR0913, PLR0917
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float,
    eps: float, cudnn_enabled: bool = True,
) -> Any:  # fmt: skip
    if running_mean is None:  # of each channel, as in the standardisation of weights
        return F.batch_norm(input, None, None, weight, bias, True, momentum, eps)
    if training:
        raise RobauditError("takes a batch norm's statistics from the batch; export it after model.eval()")
    return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)


def _batch_norm_of_batch(input: Any, weight: Any, bias: Any, *rest: Any) -> Any:
    """`_native_batch_norm_legit`, with or without statistics among the arguments."""
    statistics = rest if len(rest) == 5 else (None, None, *rest)
    return _batch_norm(input, weight, bias, *statistics), None, None


def _multi_head_attention(  # noqa: PLR0913, PLR0917
    query: Any, key: Any, value: Any, embed_dim: int, num_head: int, qkv_weight: Any, qkv_bias: Any,
    proj_weight: Any, proj_bias: Any, mask: Any = None, need_weights: bool = True, *_: Any,
) -> Any:  # fmt: skip
    """`_native_multi_head_attention`, of one tensor with itself."""
    if key is not query or value is not query or mask is not None or need_weights:
        raise RobauditError("uses attention of a kind that is not supported; pass the PyTorch checkpoint")
    size = embed_dim // num_head
    parts = F.linear(query, qkv_weight, qkv_bias).unflatten(-1, (3, num_head, size))
    heads = [parts.select(2, i).transpose(1, 2) for i in range(3)]
    mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
    return F.linear(mixed, proj_weight, proj_bias), None


def _layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any, **__: Any
) -> Any:  # fmt: skip
    return F.layer_norm(input, list(normalized_shape), weight, bias, eps)


def _group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any, **__: Any
) -> Any:
    return F.group_norm(input, num_groups, weight, bias, eps)


def _instance_norm(  # noqa: PLR0913, PLR0917
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, use_input_stats: bool,
    momentum: float, eps: float, cudnn_enabled: bool = True,
) -> Any:  # fmt: skip
    if not use_input_stats:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return F.instance_norm(input, None, None, weight, bias, True, momentum, eps)


def _dropout(input: Any, p: Any = 0.5, train: bool = False) -> Any:
    if train:
        raise RobauditError("drops values at random, as in training; export it after model.eval()")
    return input


def _attention(  # noqa: PLR0913, PLR0917
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: Any = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    _dropout(query, train=bool(dropout_p))
    options = {"attn_mask": attn_mask, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    return F.scaled_dot_product_attention(query, key, value, **options)


def _pool(pool: Callable[..., Any]) -> Callable[..., Any]:
    """In steps of the window's size where no other is given."""

    def run(self: Any, kernel_size: Any, stride: Any = None, *rest: Any, **named: Any) -> Any:
        return pool(self, kernel_size, stride or kernel_size, *rest, **named)

    return run


def _resize(mode: str) -> Callable[..., Any]:
    """`upsample_*2d`: a size or, in `.vec`, factors, and for the bilinear one whether corners are aligned."""

    def run(input: Any, output_size: Any = None, *rest: Any, **named: Any) -> Any:
        corners = named.get("align_corners", rest[0] if rest and type(rest[0]) is bool else None)
        factors = named.get("scale_factors") or next((part for part in rest if isinstance(part, list)), None)
        if not output_size and not factors:
            raise RobauditError("resizes images without saying to what; export it again")
        spatial = input.shape[2:]
        sizes = output_size or [int(n * f) for n, f in zip(spatial, factors, strict=True)]  # type: ignore[arg-type]
        bounded([*input.shape[:2], *sizes])
        return F.interpolate(
            input, list(sizes), mode=mode, align_corners=None if mode == "nearest" else corners
        )

    return run


def _adaptive(pool: Callable[..., Any]) -> Callable[..., Any]:
    def run(self: Any, output_size: Any) -> Any:
        sizes = list(output_size)
        bounded([*self.shape[: -len(sizes)], *sizes])
        return pool(self, sizes)

    return run


def _unfold(self: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """`im2col`."""
    _check_windows(self.shape[-2:], kernel_size, dilation, padding, stride)
    places = [
        (size + 2 * pad - space * (kernel - 1) - 1) // step + 1
        for size, kernel, space, pad, step in zip(
            self.shape[-2:], kernel_size, dilation, padding, stride, strict=True
        )
    ]
    bounded([*self.shape[:-2], *kernel_size, *places])
    return F.unfold(self, kernel_size, dilation, padding, stride)


def _fold(self: Any, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """`col2im`."""
    _check_windows(output_size, kernel_size, dilation, padding, stride)
    bounded([*self.shape[:-2], *output_size])
    return F.fold(self, output_size, kernel_size, dilation, padding, stride)


def _check_windows(*settings: Any) -> None:
    if not all(0 <= int(number) < 1 << 16 for setting in settings for number in setting):
        raise RobauditError(
            "cuts an image by a negative number or one that is too large (limit 65,535); export it again"
        )


OPERATORS: dict[str, Callable[..., Any]] = {
    "conv1d": _convolve, "conv2d": _convolve, "conv3d": _convolve, "convolution": _convolution,
    "_convolution": _convolution, "_convolution_mode": _convolve,
    "conv_transpose1d": _transposed, "conv_transpose2d": _transposed,
    "linear": lambda input, weight, bias=None: F.linear(input, weight, bias),
    "batch_norm": _batch_norm, "_native_batch_norm_legit_no_training": lambda x, w, b, mean, var, *rest: (
        _batch_norm(x, w, b, mean, var, False, *rest), None, None),
    "_native_batch_norm_legit": _batch_norm_of_batch, "_native_multi_head_attention": _multi_head_attention,
    "layer_norm": _layer_norm, "native_layer_norm": lambda *args: (_layer_norm(*args), None, None),
    "group_norm": _group_norm,
    "native_group_norm": lambda x, w, b, n, c, hw, group, eps: (_group_norm(x, group, w, b, eps), None, None),
    "instance_norm": _instance_norm,
    **{f"{kind}_pool{n}d": _pool(getattr(F, f"{kind}_pool{n}d")) for kind in ("max", "avg") for n in (1, 2, 3)},
    "max_pool2d_with_indices": lambda *args, **named: (_pool(F.max_pool2d)(*args, **named), None),
    "adaptive_avg_pool1d": _adaptive(F.adaptive_avg_pool1d), "adaptive_avg_pool2d": _adaptive(F.adaptive_avg_pool2d),
    "_adaptive_avg_pool2d": _adaptive(F.adaptive_avg_pool2d),
    "adaptive_max_pool2d": lambda self, size: (_adaptive(F.adaptive_max_pool2d)(self, size), None),
    "im2col": _unfold, "col2im": _fold, "upsample_bicubic2d": _resize("bicubic"),
    "upsample_nearest2d": _resize("nearest"), "upsample_bilinear2d": _resize("bilinear"),
    "dropout": _dropout, "feature_dropout": _dropout, "alpha_dropout": _dropout,
    "native_dropout": lambda input, p, train: (_dropout(input, p, bool(train)), None),
    "scaled_dot_product_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": lambda q, k, v, p=0.0, causal=False, attn_mask=None, scale=None: (
        _attention(q, k, v, attn_mask, p, causal, scale), None),
    "channel_shuffle": F.channel_shuffle,
}  # fmt: skip
