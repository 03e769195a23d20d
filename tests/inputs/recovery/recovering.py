"""What tests of recovered networks share: making weights matter, and looking for equal outputs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.recovery.candidates import assemble
from robaudit.inputs.recovery.members import member_options, read_members
from tests.inputs.recovery.references import State

SHAPE = (3, 32, 32)
MOBILE = (
    "mobilenetv2:stem=16-1,inner=16-48-72-72-96-144-144-192-192,outs=16-24-24-32-32-48-48-64-80,"
    "strides=1-1-1-2-1-2-1-1-2,"
)
#: Built by name here, recovered with the names erased; (name, channels, side).
NETWORKS = [
    ("resnet20", 3, 32),
    ("resnet20:shortcut=pad", 3, 32),
    ("resnet56:shortcut=pad-end", 3, 32),
    ("resnet18", 3, 32),
    ("resnet34", 3, 64),
    ("resnet50", 3, 32),
    ("resnet18:stem=64-7-2,stem_pool=yes", 3, 64),
    ("resnet50:mid=128-256-512-1024,groups=32", 3, 32),
    ("preactresnet18", 3, 32),
    ("preactresnet18:last_norm=no", 3, 32),
    ("preactresnet18:shortcut_norm=yes", 3, 32),
    ("wrn-16-4", 3, 32),
    ("wrn-10-1:project=first", 3, 32),
    ("residual:widths=16-32,depths=2-2,strides=2-2,stem=8-3-2,norm=none,bias=yes,pool=1,hidden=100", 3, 32),
    (
        "residual:widths=16-32,depths=1-2,strides=1-2,mid=8-16,groups=2,stem=16-3-1,shortcut_norm=no,normed=1,hidden=64",
        3,
        32,
    ),
    ("residual:widths=16-32,depths=1-2,strides=1-2,stem=16-3-1,normed=2,stem_norm=no,pool=1", 3, 32),
    ("wrn-10-1:normed=1,last_norm=no,last_act=yes,stride_last=yes,hidden=64", 3, 32),
    ("wrn-16-1:norm=none,last_norm=no,last_act=yes,stride_last=yes,pool=1,hidden=64", 3, 32),
    ("resnet20:norm=gn2", 3, 32),
    ("resnet18:norm=gn32", 3, 32),
    ("resnet18:norm=gc16", 3, 32),
    ("preactresnet18:norm=gn8,shortcut_norm=yes", 3, 32),
    ("resnet20:norm=in", 3, 32),
    ("resnet18:se=16,se_conv=yes", 3, 32),
    ("resnet20:se=16,shortcut=pad", 3, 32),
    ("preactresnet18:se=16,se_conv=yes", 3, 32),
    ("resnet50:se=16", 3, 32),
    ("sequential:conv16k3p1 gn8 relu conv32k3p1 gn8 relu max2 flatten fc64 gn1 relu fcK", 3, 32),
    (
        "sequential:conv8k3p1 bn relu conv16k3p1 bn relu max2 skip conv16k3p1 bn relu conv16k3p1 bn relu add "
        "conv24k3p1 bn relu max2 conv32k3p1 bn relu max2 skip conv32k3p1 bn relu conv32k3p1 bn relu add gmp flatten "
        "fcK",
        3,
        32,
    ),
    ("sequential:flatten fc64 gn1 relu fc64 gn1 relu fcK", 1, 28),
    ("vgg11_bn", 3, 32),
    ("vgg16", 3, 32),
    ("vgg19_bn", 3, 32),
    ("mobilenet", 3, 32),
    ("densenet:growth=12,blocks=3-4-2,stem=24,transitions=30-39,neck=48,new_first=yes", 3, 32),
    ("densenet:growth=8,blocks=4-4,stem=16,transitions=48,neck=0,new_first=no", 3, 32),
    ("densenet:growth=8,blocks=2-3-2,stem=16,transitions=16-20,neck=32,bare=yes,flat=yes,hidden=64", 3, 32),
    ("densenet:growth=8,blocks=2-3-2,stem=16,transitions=16-20,neck=32,flat=yes,hidden=64", 3, 32),
    (MOBILE + "shortcuts=0-0-0-0-0-0-0-0-0,last=128,expand_first=no", 3, 32),
    (MOBILE + "shortcuts=1-1-0-0-0-0-0-0-0,last=128,expand_first=yes", 3, 32),
    ("lenet5", 3, 32),
    ("lenet-mnist", 1, 28),
    ("madry-mnist", 1, 28),
    ("smallcnn", 1, 28),
    ("cnn-small", 3, 32),
    ("cnn-large", 3, 32),
    ("cnn7", 3, 32),
    ("cnn6", 3, 32),
    ("digits-cnn", 1, 8),
    ("mlp", 1, 28),
    ("allconv", 3, 32),
    ("sequential:conv16k5s2p2 relu conv32k5s2p2 relu flatten fc64 relu fcK", 3, 32),
    ("sequential:conv16k3 relu max2 conv32k3 relu max2 flatten fcK", 1, 28),
    ("sequential:conv16k8s2p3 relu conv32k6s2p3 relu conv32k5 relu flatten fcK", 1, 28),
    ("resnet20:activation=prelu,shortcut=pad", 3, 32),
    ("wrn-10-1:activation=prelu-each", 3, 32),
    ("sequential:conv16k5 prelu max2 conv32k5 bn prelu-each max2 flatten fc64 prelu fcK", 1, 28),
    ("sequential:conv32k3p1 relu conv32k3p1 relu max2 gap flatten fcK", 3, 32),
]


def nameless(network: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict with one meaningless name a layer."""
    numbers: dict[str, str] = {}
    state = {}
    for key, tensor in network.state_dict().items():
        layer, _, role = key.rpartition(".")
        state[f"{numbers.setdefault(layer, f'part{len(numbers)}x')}.{role}"] = tensor
    return state


def randomised(network: nn.Module) -> nn.Module:
    """In evaluation mode, with statistics and scales that an exchange of layers would show."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return network.eval()


def recovered(state: State, x: torch.Tensor, want: torch.Tensor, most: int = 12) -> str:
    """The first architecture among the likeliest whose outputs are `want`; empty where none is."""
    for option in member_options(read_members([state], Path("f")), None, SHAPE, Path("f"))[:most]:
        try:
            got = assemble(option)(x)
        except RobauditError:  # a guess that has no such layers
            continue
        if torch.allclose(got, want, atol=1e-4 * float(want.abs().max())):
            return option.text
    return ""


def varied(network: nn.Module) -> nn.Module:
    """Weights and statistics that make every part of a network matter."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return network.eval()
