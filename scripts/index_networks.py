"""Write the index by which the networks of torchvision, timm and our own are known: one digest of shapes each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import torch

from robaudit.inputs.networks.published import PUBLISHED
from robaudit.inputs.recovery.catalogue import build_catalogue
from robaudit.inputs.recovery.catalogue_index import INDEX, fingerprint
from robaudit.inputs.recovery.layers import module_layers


def _all_names() -> Iterator[tuple[str, str]]:
    from torchvision import models  # noqa: PLC0415

    yield from (("torchvision", name) for name in models.list_models(module=models))
    import timm  # noqa: PLC0415

    yield from (("timm", name) for name in timm.list_models())


def main() -> None:
    """Write the index."""
    index: dict[str, list[str]] = {}
    for own, make in PUBLISHED.items():
        with torch.device("meta"):
            index.setdefault(fingerprint(module_layers(make(1000, 3))), []).append(own)
    for kind, name in _all_names():
        for device in (
            "meta",
            "cpu",
        ):  # some take numbers out of tensors, which the meta device does not have
            try:
                with torch.device(device):
                    layers = module_layers(build_catalogue(kind, name, 1000, 3))
                index.setdefault(fingerprint(layers), []).append(f"{kind}:{name}")
                break
            except Exception as error:
                print(f"{kind}:{name}: not on {device} ({error})", file=sys.stderr)
    INDEX.write_text(json.dumps(index, separators=(",", ":"), sort_keys=True))


if __name__ == "__main__":
    main()
