"""Published networks for small images that are known by name, each in a module of its own family.

Their parameters are named and ordered as in the published files, so tensors go in by name, or as they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from robaudit.inputs.networks.aggregation import deep_layers
from robaudit.inputs.networks.dual_path import dual_path_net
from robaudit.inputs.networks.efficient import efficient_net
from robaudit.inputs.networks.inception import googlenet
from robaudit.inputs.networks.progressive import progressive_net
from robaudit.inputs.networks.regnet import regnet
from robaudit.inputs.networks.repvgg import rep_vgg
from robaudit.inputs.networks.small_stems import (
    small_googlenet,
    small_inception,
    small_shufflenet,
)

#: Constructors by name, called with classes and channels of the images. Each gives a network from images
#: (N, channels, H, W), normalised, to logits (N, classes).
PUBLISHED: dict[str, Callable[[int, int], nn.Module]] = {
    "googlenet-3x3": small_googlenet,
    "inception_v3-3x3": small_inception,
    **{
        f"shufflenetv2-x{width}": partial(small_shufflenet, width)
        for width in ("0.5", "1", "1.5", "2", "2-224")
    },
    **{f"repvgg-{size}": partial(rep_vgg, size, False) for size in ("a0", "a1", "a2")},
    **{f"repvgg-{size}-deploy": partial(rep_vgg, size, True) for size in ("a0", "a1", "a2")},
    "googlenet-three": googlenet,
    "efficientnet-b0": efficient_net,
    **{f"regnet-{size}": partial(regnet, size) for size in ("x-200mf", "x-400mf", "y-400mf")},
    "dla-simple": partial(deep_layers, True),
    "dla": partial(deep_layers, False),
    "dpn26": partial(dual_path_net, (2, 2, 2, 2)),
    "dpn92": partial(dual_path_net, (3, 4, 20, 3)),
    "pnasnet-a": partial(progressive_net, "a"),
    "pnasnet-b": partial(progressive_net, "b"),
}
