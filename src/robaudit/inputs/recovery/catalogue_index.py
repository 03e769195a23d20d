"""Which torchvision or timm model a file's shapes belong to, from an index shipped with the package.

Building some 1,400 networks to compare shapes would take minutes; the index keeps one digest a model.
`scripts/index_networks.py` writes it anew from what is installed.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from robaudit.inputs.recovery.layers import Layer, last_layer

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
