"""Weights that are too large to train from, made smaller without a change of any prediction.

A distilled checkpoint has logits in the hundreds, whose loss's gradients are either 0 or enormous; a masked one may
have weights ten times as large as fresh ones in every layer. Where scaling a layer's outputs scales what follows
(convolutions and linear layers with ReLU or pooling between them), all layers are scaled to the same size compared with
fresh weights (https://arxiv.org/abs/1502.01852, Eq. 10), so that a step moves each alike; else only the last linear
layer is.
"""

from __future__ import annotations

import itertools
import math
import operator

import torch
from torch import Tensor, nn

#: Between the largest and the smallest logit: TRADES-trained networks have about 10. One with more than the first is
#: scaled to the second, as fresh weights have: at 20 a masked LeNet of CIFAR-10 died in its first epoch.
MOST_SPREAD, SPREAD = 20.0, 2.0
Layer = nn.Conv2d | nn.Linear
_LAYERS = (nn.Conv2d, nn.Linear)
#: Each layer's factors for its weight and its bias.
_Factors = list[tuple[Layer, float, float]]


@torch.no_grad()
def shrink_logits(network: nn.Module, x: Tensor) -> float:
    """Scale a network down where its logits are so large that the first steps would wreck it.

    Args:
        network: from (n, C, H, W) to logits; put into evaluation mode.
        x: such inputs.

    Returns:
        the logits' factor, 1 where nothing was to be done or the logits do not follow any layer's scale.

    """
    network.eval()
    layers, before = _called(network, x)
    spread = float((before.amax(1) - before.amin(1)).median())
    if not spread > MOST_SPREAD or not layers:
        return 1.0
    factor = SPREAD / spread
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for way in (_alike(layers, factor), [(layer, factor, factor) for layer in linear[-1:]]):
        old = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        for layer, by_weight, by_bias in way:
            for name, parameter in layer.named_parameters(recurse=False):
                parameter.mul_(by_bias if name == "bias" else by_weight)
        if torch.allclose(network(x).float(), before * factor, rtol=1e-3, atol=1e-3 * SPREAD):
            return factor
        network.load_state_dict(old)
    return 1.0


def _called(network: nn.Module, x: Tensor) -> tuple[list[Layer], Tensor]:
    """The layers in the order in which they are first called, and the logits."""
    found: dict[Layer, None] = {}

    def note(layer: Layer, _: object) -> None:
        found[layer] = None

    hooks = [
        layer.register_forward_pre_hook(note) for layer in network.modules() if isinstance(layer, _LAYERS)
    ]
    try:
        logits = network(x).float()
        return list(found), logits
    finally:
        for hook in hooks:
            hook.remove()


def _alike(layers: list[Layer], factor: float) -> _Factors:
    """Factors by which all layers' weights get the same size compared with fresh ones, and the logits `factor`."""
    sizes = [
        float(layer.weight.float().square().mean().sqrt()) * math.sqrt(layer.weight[0].numel() / 2)
        for layer in layers
    ]
    if min(sizes) == 0:
        return []
    wanted = math.exp((sum(map(math.log, sizes)) + math.log(factor)) / len(layers))
    by = [wanted / size for size in sizes]
    return list(zip(layers, by, itertools.accumulate(by, operator.mul), strict=True))
