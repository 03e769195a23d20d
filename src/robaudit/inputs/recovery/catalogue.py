"""Which torchvision or timm model a file's shapes belong to, from an index shipped with the package.

Building some 1,400 networks to compare shapes would take minutes; the index keeps one digest a model.
`scripts/index_networks.py` writes it anew from what is installed.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.files.several import State, put_in
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.layers import Layer, chain_classes, input_channels, last_layer

INDEX = Path(__file__).with_name("catalogue.json")


def fingerprint(layers: list[Layer]) -> str:
    """A digest of the layers' kinds and shapes in any order, without the classes."""
    head = last_layer(layers)
    heads = [
        layer for layer in layers if head is not None and (layer.kind, layer.shape) == (head.kind, head.shape)
    ]
    shapes: list[tuple[str, tuple[int, ...]]] = sorted(
        (layer.kind, layer.shape) for layer in layers if layer not in heads
    )
    shapes += [("head", head.shape[1:])] * len(heads) if head is not None else []
    return hashlib.sha256(repr(shapes).encode()).hexdigest()[:12]


@cache
def _index() -> dict[str, list[str]]:
    try:
        content = json.loads(INDEX.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return {str(digest): list(names) for digest, names in content.items()}


def indexed_names(layers: list[Layer]) -> list[str]:
    """Names of networks whose layers have these shapes: `torchvision:NAME`, `timm:NAME`, our own without a colon."""
    return _index().get(fingerprint(layers), []) if len(layers) > 8 else []


def build_catalogue(kind: str, name: str, classes: int, in_channels: int) -> nn.Module:
    """A torchvision or timm network with fresh weights.

    Raises:
        RobauditError: not installed, or no such model.

    """
    try:
        if kind == "torchvision":
            from torchvision import models  # noqa: PLC0415  a second to import

            options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
            return network
        import timm  # noqa: PLC0415  an extra

        made: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=in_channels)
        return made
    except ImportError as error:
        raise RobauditError(f"{kind}:{name}: needs {kind}; pip install 'robaudit[timm]'") from error
    except Exception as error:
        raise RobauditError(f"{kind}:{name}: cannot be built ({type(error).__name__}: {error})") from error


def catalogue_options(
    state: State, layers: list[Layer], shape: tuple[int, int, int] | None, only: str = ""
) -> list[Candidate]:
    """Candidates from the catalogues, loaded by name (after a common prefix) or else in order.

    Args:
        state: the file's tensors.
        layers: the same as layers.
        shape: (C, H, W) of the images, where there are some.
        only: a single `torchvision:NAME` or `timm:NAME` to take.

    """
    found = []
    classes = chain_classes(layers)
    channels = input_channels(layers) or 3
    known = [name for name in indexed_names(layers) if ":" in name]
    for text in [only] if only else known[:4]:
        kind, _, name = text.partition(":")
        try:
            network = build_catalogue(kind, name, classes, channels)
        except RobauditError:
            continue
        loaded = _loaded(network, state)
        if loaded:
            size = shape[1] if shape else 224
            exact = loaded == "by name"
            price = len(found) / 10 - 0.5  # of those that compute the same, the first named is meant
            found.append(Candidate(text, (), channels, size, classes, price, network, exact))
    return found


def _loaded(network: nn.Module, state: State) -> str:
    """How the tensors were put into the network: by name, in order, or not at all (empty)."""
    own = {
        key: tensor
        for key, tensor in network.state_dict().items()
        if tensor.ndim or tensor.is_floating_point()
    }
    theirs = {key: tensor for key, tensor in state.items() if tensor.ndim or tensor.is_floating_point()}
    how = "by name"
    for prefix in ("", *sorted({key.split(".")[0] + "." for key in theirs})):
        renamed = {key.removeprefix(prefix): tensor for key, tensor in theirs.items()}
        if own.keys() == renamed.keys():
            break
    else:
        how = "in order"
        renamed = dict(zip(own, theirs.values(), strict=False))
    if len(own) != len(theirs) or any(own[key].shape != renamed[key].shape for key in own):
        return ""
    put_in(network, {key: tensor.float() for key, tensor in renamed.items()})
    return how
