"""What the loader chooses, as facts in `choosing.json`: networks by recipe, and files that others published.

`python -m tests.inputs.recovery.choosing` writes the facts anew;
a change of them must be better by accuracy, or be explained.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs import Images, build_architecture, load_classifier, load_images, make_images
from tests.inputs.recovery.recovering import NETWORKS, nameless, varied

FACTS = Path(__file__).with_suffix(".json")
MODELS, DATA = os.environ.get("ROBAUDIT_MODELS", ""), os.environ.get("ROBAUDIT_DATA", "")

#: Networks trained for a moment on digits behind a normalisation: (architecture, normalisation).
TRAINED = [
    ("sequential:conv8k3p1 relu conv8k3p1 relu max2 flatten fc32 relu fcK", "none"),
    ("sequential:conv8k3p1 relu conv8k3p1 relu max2 flatten fc32 relu fcK", "0.5/0.5"),
    ("sequential:conv8k3p1 relu conv8k3p1 relu max2 flatten fc32 relu fcK", "0/0.00392156862745098"),
    ("sequential:conv8k3p1 tanh avg2 conv16k3p1 tanh avg2 flatten fc32 tanh fcK", "none"),
    ("sequential:conv8k3p1 bn relu conv8k3s2p1 bn relu flatten fcK", "0.5/0.5"),
    ("sequential:conv8k3p1 relu bn conv8k3p1 relu bn max2 flatten fcK", "none"),
    ("sequential:conv8k3 elu avg2 flatten fc32 elu fcK", "none"),
    ("sequential:conv8k3 max2 conv16k2 max2 flatten fc32 relu fcK", "none"),
    ("sequential:conv8k3p1 bn silu conv16k3s2p1 bn silu gap flatten fcK", "none"),
    ("sequential:conv8k3p1 gn4 relu conv16k3s2p1 gn4 relu flatten fcK", "0.5/0.5"),
    ("sequential:flatten fc64 sigmoid fc32 sigmoid fcK", "none"),
    ("residual:widths=8-16,depths=1-1,strides=1-2,stem=8-3-1", "none"),
    ("residual:widths=8-16,depths=1-1,strides=1-2,stem=8-3-1,shortcut=pad-end", "0.5/0.5"),
    ("wrn-10-1:activation=leaky0.1", "none"),
    ("residual:widths=8-16,depths=1-1,strides=2-2,stem=8-3-1,norm=none,bias=yes,pool=1,hidden=32", "none"),
]
#: Networks with fresh weights whose own answers on noise are the labels: (architecture, in `make test`).
ANSWERING = [
    ("resnet20", False),
    ("resnet20:shortcut=pad", False),
    ("wrn-10-1:activation=silu", False),
    ("preactresnet18:widths=16-32-64-128,stem=16-3-1,se=16,se_conv=yes", False),
    ("resnet18:widths=16-32-64-128,stem=16-3-1,norm=gn8", False),
    ("residual:widths=16-32,depths=1-2,strides=1-2,stem=16-3-1,normed=2,stem_norm=no,pool=1", False),
    ("densenet:growth=8,blocks=2-2,stem=16,transitions=32,neck=0,new_first=no", True),
    ("convmixer:width=32,depth=4,kernel=5,patch=2", True),
    ("vit:width=32,depth=2,heads=4,inner=32,hidden=64,patch=4", False),
    ("lenet5", True),
    ("cnn-small", True),
    ("cnn6", False),
    ("sequential:conv16k5 tanh avg2 conv32k5 tanh avg2 flatten fc64 tanh fcK", False),
]
#: Published files: (file, data set, in `make test`).
PUBLISHED = [
    ("cifar100_resnet20_adv.pth", "cifar100", False),
    ("cifar10_cnn6_pgd.pth", "cifar10", False),
    ("cifar10_cnn_a_adv.model", "cifar10", True),
    ("cifar10_convsmall_pgd.onnx", "mnist", True),  # it takes 1x28x28, whatever its name says
    ("cifar10_dverge_3x_resnet20.pth", "cifar10", False),
    ("cifar10_lenet_masked.pth", "cifar10", True),
    ("cifar10_resnet20_akamaster.th", "cifar10", False),
    ("cifar10_resnet20_plain.pth", "cifar10", False),
    ("cifar10_resnet2b.pth", "cifar10", False),
    ("mnist_cnn_pgd.pt", "mnist", False),
    ("mnist_fgsm.pth", "mnist", True),
    ("mnist_needs_unsafe_unpickling.pt", "mnist", True),
    ("mnist_smallcnn_trades.pth", "mnist", False),
    ("mnist_tinygrad.safetensors", "mnist", True),
]

#: Choices that became better with one currency, and the accuracy that they had before: the sigmoids and
#: the slope of the networks that were trained, ImageNet's normalisation (but for its deviations), a milder activation.
BETTER = {
    "sequential:flatten fc64 sigmoid fc32 sigmoid fcK | none": 0.8921,
    "wrn-10-1:activation=leaky0.1 | none": 0.9774,
    "cifar10_resnet20_akamaster.th": 0.922,
    "sequential:conv8k3p1 bn silu conv16k3s2p1 bn silu gap flatten fcK | none": 0.6474,
}


def chosen(load: Callable[[], Any], images: Images | None) -> dict[str, Any]:
    """What a load chose, or why it refused, and the accuracy on all the images."""
    try:
        classifier = load()
    except RobauditError as error:
        return {"refused": str(error).partition(": ")[2][:60]}
    info = classifier.info
    found: dict[str, Any] = {
        "architecture": info.architecture,
        "normalisation": info.normalisation,
        "notes": list(info.notes),
    }
    if images is not None:
        with torch.no_grad():
            parts = torch.arange(len(images)).split(200)
            right = torch.cat(
                [classifier(images.float(part)).argmax(1) == images.labels[part] for part in parts]
            )
        found["accuracy"] = round(float(right.float().mean()), 4)
    return found


def trained(architecture: str, normalisation: str, folder: Path) -> dict[str, Any]:
    """What is chosen for a network that a moment of training on digits made."""
    from robaudit.inputs.normalisation import Normalise, parse_normalisation

    torch.manual_seed(0)
    network = build_architecture(architecture, classes=10, in_channels=1, image_size=8)
    model = nn.Sequential(Normalise(parse_normalisation(normalisation, 1)), network).train()
    data = load_images("digits", split="train")
    x, optimiser = data.float(), torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(240):
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(step))[:128]
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), data.labels[rows]).backward()
        optimiser.step()
    return _loaded(network.eval(), load_images("digits"), folder)


def answering(architecture: str, folder: Path) -> dict[str, Any]:
    """What is chosen for a network with fresh weights, by labels that are its own answers."""
    torch.manual_seed(0)
    network = varied(build_architecture(architecture, classes=10))
    x = torch.rand(160, 3, 32, 32)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():  # answers spread over the classes, and sure ones
        logits = network(x)
        last.weight.mul_(8).div_(logits.std(0, keepdim=True).T)
        last.bias.copy_((last.bias - logits.mean(0)) * 8 / logits.std(0))
        labels = network(x).argmax(1)
    labels[:10] = torch.arange(10)
    return _loaded(network, make_images(x, labels, name="noise", split="test", classes=10), folder)


def _loaded(network: nn.Module, images: Images, folder: Path) -> dict[str, Any]:
    by_name = any(isinstance(module, nn.LayerNorm) for module in network.modules())
    torch.save(network.state_dict() if by_name else nameless(network), folder / "a.pt")
    return chosen(lambda: load_classifier(str(folder / "a.pt"), images=images), images)


def published(file: str, dataset: str) -> dict[str, Any]:
    """What is chosen for a published file."""
    images = load_images(dataset, data_dir=Path(DATA), limit=2000)
    return chosen(lambda: load_classifier(str(Path(MODELS) / file), images=images), images)


def nameless_choice(name: str, channels: int, side: int, folder: Path) -> str:
    """The architecture taken without images for a network whose names are erased."""
    torch.manual_seed(0)
    network = varied(build_architecture(name, classes=10, in_channels=channels, image_size=side))
    torch.save(nameless(network), folder / "a.pt")
    return load_classifier(str(folder / "a.pt"), shape=(channels, side, side)).info.architecture


def main() -> None:
    """Write the facts, or those whose names hold an argument's text."""
    facts = json.loads(FACTS.read_text()) if FACTS.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases: dict[str, dict[str, Callable[[], Any]]] = {
            "without images": {
                case[0]: lambda case=case: nameless_choice(*case, folder) for case in NETWORKS
            },
            "trained": {f"{a} | {n}": lambda a=a, n=n: trained(a, n, folder) for a, n in TRAINED},
            "answering": {a: lambda a=a: answering(a, folder) for a, _ in ANSWERING},
            "published": {f: lambda f=f, d=d: published(f, d) for f, d, _ in PUBLISHED}
            if MODELS and DATA
            else {},
        }
        for kind, members in cases.items():
            for key, make in members.items():
                if not sys.argv[1:] or any(text in f"{kind} {key}" for text in sys.argv[1:]):
                    facts.setdefault(kind, {})[key] = make()
                    print(kind, key, facts[kind][key], flush=True)
    FACTS.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
