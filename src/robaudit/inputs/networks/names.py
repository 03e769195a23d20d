"""`ARCHITECTURES`: constructors by name; `build_architecture`: a network from any specification's text."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.networks.dense import DensePlan, MobilePlan, dense_net, mobile_net
from robaudit.inputs.networks.ensemble import Ensemble
from robaudit.inputs.networks.mixer import MixerPlan, conv_mixer
from robaudit.inputs.networks.published import PUBLISHED
from robaudit.inputs.networks.residual import ResidualNet
from robaudit.inputs.networks.residual_specs import RESIDUAL, parse_residual
from robaudit.inputs.networks.sequential import build_sequential
from robaudit.inputs.networks.specs import SEQUENTIAL, parse_plan, vgg_text
from robaudit.inputs.networks.transformer import TransformerPlan, VisionTransformer


def _residual(spec: str, *, classes: int, in_channels: int = 3, image_size: int = 32) -> nn.Module:
    plan = parse_residual(spec)
    assert plan is not None
    return ResidualNet(plan, classes, in_channels, image_size)


def _sequential(text: str, *, classes: int, in_channels: int = 3, image_size: int = 32) -> nn.Module:
    return build_sequential(text, classes, in_channels, image_size)


def _vgg(name: str, **sizes: int) -> nn.Module:
    return _sequential(vgg_text(name) or "", **sizes)


def _dense(spec: str, *, classes: int, in_channels: int, image_size: int) -> nn.Module:
    if spec.startswith("densenet:"):
        return dense_net(parse_plan(spec, DensePlan), classes, in_channels, image_size)
    try:
        return mobile_net(parse_plan(spec, MobilePlan), classes, in_channels, "relu6" in spec)
    except ValueError:
        raise RobauditError(f"{spec}: inner, outs, strides and shortcuts need one number a block") from None


def _published(
    make: Callable[[int, int], nn.Module], *, classes: int, in_channels: int = 3, image_size: int = 32
) -> nn.Module:
    return make(classes, in_channels)


def _ensemble(text: str, **sizes: int) -> nn.Module:
    count, _, member = text.partition("*")
    if not count.isdigit() or not 1 <= int(count) <= 100:
        raise RobauditError(f"ensemble:{text}: write it as ensemble:3*resnet20")
    return Ensemble([build_architecture(member, **sizes) for _ in range(int(count))])


#: Constructors, called with classes=, in_channels=, image_size=.
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    **{name: partial(_residual, name) for name in RESIDUAL},
    **{
        name: partial(_residual, name)
        for name in ("wrn-16-4", "wrn-28-10", "wrn-34-10", "wrn-34-20", "wrn-70-16")
    },
    **{name: partial(_sequential, text) for name, text in SEQUENTIAL.items()},
    **{name: partial(_published, make) for name, make in PUBLISHED.items()},
    **{name: partial(_vgg, name) for name in ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")},
}


def build_architecture(name: str, *, classes: int, in_channels: int = 3, image_size: int = 32) -> nn.Module:
    """A network with fresh weights.

    Args:
        name: a key of `ARCHITECTURES`, `wrn-D-K`, `vggD[_bn]`, `NAME:option=value,...` of a residual
            network, `sequential:WORDS`, `residual:...`.
        classes: outputs.
        in_channels: of the images.
        image_size: their height and width.

    Returns:
        (N, in_channels, image_size, image_size) to logits (N, classes).

    Raises:
        RobauditError: the name is not known or its options do not fit.

    """
    sizes = {"classes": classes, "in_channels": in_channels, "image_size": image_size}
    if name in ARCHITECTURES:
        return ARCHITECTURES[name](**sizes)
    kind, _, rest = name.partition(":")
    if kind == "sequential":
        return _sequential(rest, **sizes)
    if kind in ("densenet", "mobilenetv2", "mobilenetv2-relu6"):
        return _dense(name, **sizes)
    if kind == "convmixer":
        return conv_mixer(parse_plan(name, MixerPlan), classes, in_channels)
    if kind == "vit":
        return VisionTransformer(parse_plan(name, TransformerPlan), classes, in_channels, image_size)
    if kind == "ensemble":
        return _ensemble(rest, **sizes)
    if parse_residual(name):
        return _residual(name, **sizes)
    if text := vgg_text(name):
        return _sequential(text, **sizes)
    raise RobauditError(
        f"{name}: no such architecture; use one of {', '.join(sorted(ARCHITECTURES))}, or FILE.py:FACTORY"
    )
