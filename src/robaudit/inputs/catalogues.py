"""Models by name from torchvision, timm, the Hugging Face Hub and RobustBench (extras, and the network)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.normalisation import Normalisation, parse_normalisation

Fetched = tuple[nn.Module | None, Normalisation | None, list[str], Path | None]


def _imported(module: str, extra: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RobauditError(f"{what}: needs the {module} package; pip install {extra}") from error


def _failed(what: str, error: Exception) -> RobauditError:
    reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
    return RobauditError(
        f"{what}: cannot be fetched ({reason}); check the name and the network, or pass a file"
    )


def _torchvision(name: str) -> Fetched:
    from torchvision import models  # noqa: PLC0415  a second to import

    if name not in models.list_models(module=models):
        raise RobauditError(f"torchvision:{name}: no such model; torchvision.models.list_models() names them")
    try:
        network = models.get_model(name, weights="DEFAULT")
    except Exception as error:
        raise _failed(f"torchvision:{name}", error) from error
    return network, parse_normalisation("imagenet", 3), ["torchvision's default weights"], None


def _timm(name: str) -> Fetched:
    timm = _imported("timm", "timm", f"timm:{name}")
    if not timm.is_model(name):
        raise RobauditError(f"timm:{name}: no such model; timm.list_models() names them")
    try:
        network = timm.create_model(name, pretrained=True)
        config = network.pretrained_cfg
        numbers = "/".join(",".join(f"{v:.9g}" for v in config[key]) for key in ("mean", "std"))
        return network, parse_normalisation(numbers, len(config["mean"])), ["timm's pretrained weights"], None
    except Exception as error:
        raise _failed(f"timm:{name}", error) from error


def _hub(name: str) -> Fetched:
    hub = _imported("huggingface_hub", "huggingface_hub", f"hf:{name}")
    owner, _, file = name.partition("@")
    names = (
        [file] if file else ["model.safetensors", "pytorch_model.bin", "model.pt", "model.pth", "model.onnx"]
    )
    last: Exception | None = None
    for each in names:
        try:
            return (
                None,
                None,
                [f"{each} of {owner} on the Hugging Face Hub"],
                Path(hub.hf_hub_download(owner, each)),
            )
        except Exception as error:
            last = error
    assert last is not None
    raise _failed(f"hf:{name}", last) from last


def _robustbench(name: str) -> Fetched:
    model, _, rest = name.partition(":")
    dataset, _, threat = rest.partition(":")
    utils = _imported("robustbench.utils", "robustbench", f"robustbench:{name}")
    try:
        network = utils.load_model(
            model_name=model, dataset=dataset or "cifar10", threat_model=threat or "Linf"
        )
    except Exception as error:
        raise _failed(f"robustbench:{name}", error) from error
    return network, parse_normalisation("none", 3), ["RobustBench's model, which normalises inside"], None


#: Where `KIND:NAME` is fetched from.
CATALOGUES: dict[str, Callable[[str], Fetched]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _hub,
    "robustbench": _robustbench,
}


def fetch(kind: str, name: str) -> Fetched:
    """A network with its normalisation and notes, or a downloaded file's path.

    Raises:
        RobauditError: the extra is not installed, there is no such model, or no network.

    """
    return CATALOGUES[kind](name)
