"""torchvision's networks with the stem that small images need: one 3x3 convolution of stride 1."""

from __future__ import annotations

from torch import nn

from robaudit.inputs.networks.frame import conv_norm

_SHUFFLE = {
    "0.5": (24, 48, 96, 192, 1024),
    "1": (24, 116, 232, 464, 1024),
    "1.5": (24, 176, 352, 704, 1024),
    "2": (24, 244, 488, 976, 2048),
    "2-224": (24, 224, 488, 976, 2048),  # a published file's first width, not the paper's
}


def small_googlenet(classes: int, in_channels: int) -> nn.Module:
    """GoogLeNet (Szegedy et al. 2015, https://arxiv.org/abs/1409.4842) without its first two poolings."""
    from torchvision.models.googlenet import BasicConv2d, GoogLeNet  # noqa: PLC0415  a second to import

    network: nn.Module = GoogLeNet(classes, aux_logits=False, init_weights=False)
    network.conv1 = BasicConv2d(in_channels, 192, kernel_size=3, padding=1)
    for name in ("maxpool1", "conv2", "conv3", "maxpool2"):
        setattr(network, name, nn.Identity())
    network.maxpool3, network.maxpool4 = nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 1)
    return network


def small_inception(classes: int, in_channels: int) -> nn.Module:
    """Inception v3 (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567) with one convolution as stem."""
    from torchvision.models.inception import BasicConv2d, Inception3  # noqa: PLC0415  a second to import

    network: nn.Module = Inception3(classes, aux_logits=False, init_weights=False)
    network.Conv2d_1a_3x3 = BasicConv2d(in_channels, 192, kernel_size=3, padding=1)
    for name in ("Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"):
        setattr(network, name, nn.Identity())
    return network


def small_shufflenet(width: str, classes: int, in_channels: int) -> nn.Module:
    """ShuffleNet V2 (Ma et al. 2018, https://arxiv.org/abs/1807.11164) without its first pooling.

    `width` is a key of `_SHUFFLE`.
    """
    from torchvision.models.shufflenetv2 import ShuffleNetV2  # noqa: PLC0415  a second to import

    network: nn.Module = ShuffleNetV2([4, 8, 4], list(_SHUFFLE[width]), classes)
    network.conv1 = nn.Sequential(*conv_norm(in_channels, 24, 3), nn.ReLU())
    network.maxpool = nn.Identity()
    return network
