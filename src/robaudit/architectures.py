"""The networks with a name, without torch: what is listed, completed and suggested; `inputs.networks` builds them."""

from __future__ import annotations

import re

from robaudit.spelling import meant

#: By the family that builds them.
NETWORKS: dict[str, tuple[str, ...]] = {
    "residual": (
        "resnet20", "resnet32", "resnet44", "resnet56", "resnet110",
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
        "preactresnet18", "preactresnet34", "preactresnet50",
        "wrn-16-4", "wrn-28-10", "wrn-34-10", "wrn-34-20", "wrn-70-16",
    ),
    "plain": (
        "digits-cnn", "smallcnn", "madry-mnist", "cnn-small", "cnn-large", "cnn7", "dp-mnist", "lenet5", "lenet-mnist",
        "cnn6", "allconv", "mlp", "mobilenet",
    ),
    "published": (
        "googlenet-3x3", "inception_v3-3x3", "shufflenetv2-x0.5", "shufflenetv2-x1", "shufflenetv2-x1.5",
        "shufflenetv2-x2", "shufflenetv2-x2-224", "repvgg-a0", "repvgg-a1", "repvgg-a2", "repvgg-a0-deploy",
        "repvgg-a1-deploy", "repvgg-a2-deploy", "googlenet-three", "efficientnet-b0", "regnet-x-200mf",
        "regnet-x-400mf", "regnet-y-400mf", "dla-simple", "dla", "dpn26", "dpn92", "pnasnet-a", "pnasnet-b",
    ),
    "vgg": ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
}  # fmt: skip
#: Forms with numbers or options of one's own, and what they are.
FORMS: dict[str, str] = {
    "wrn-DEPTH-WIDTH": "a wide residual network, for example wrn-40-2",
    "vggDEPTH[_bn]": "11, 13, 16 or 19, with or without batch norm",
    "NAME:option=value,…": "a residual network with other options, for example resnet18:activation=silu",
    "sequential:WORDS": "a plain network, for example sequential:conv16k3p1 relu flatten fcK",
    "ensemble:N*NAME": "several that vote, for example ensemble:3*resnet20",
    "torchvision:NAME, timm:NAME": "their network, with the file's weights",
    "FILE.py:FUNCTION, package.module:FUNCTION": "your own, which returns an nn.Module",
}
#: Words of `--arch` that are not in the lists: other names of the forms above, and of programs.
_OTHERS = re.compile(
    r"(wrn|wideresnet|wide-resnet|wide_resnet)[-_]?\d+[-_x]\d+|vgg(11|13|16|19)(_bn)?|residual|mobilenetv2(-relu6)?"
    r"|onnx|torchscript|pt2"
)


def no_such_architecture(text: str) -> str:
    """What to say of a text that cannot be an architecture whatever follows; empty where it may be one.

    Whether options after a colon fit, `build_architecture` tells, which needs torch.
    """
    known = [name for names in NETWORKS.values() for name in names]
    if ":" in text or text in known or _OTHERS.fullmatch(text.lower()):
        return ""
    return (
        f"{text}: no such architecture{meant(text, known)}; `robaudit architectures` lists them, "
        "or pass FILE.py:FACTORY"
    )
