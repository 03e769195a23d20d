"""Models by name from torchvision, timm, the Hugging Face Hub and RobustBench (extras, and the network)."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.data.reachability import careful, unreachable
from robaudit.inputs.files.model_folders import CONFIG, PART, PREPROCESSOR
from robaudit.inputs.normalisation import Normalisation, parse_normalisation
from robaudit.spelling import meant, unknown

#: Names under which models usually lie on the Hub, and endings of checkpoints, the plainest first.
HUB_FILES = ("model.safetensors", "pytorch_model.bin", "model.pt", "model.pth", "model.onnx")
HUB_ENDINGS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".onnx", ".pt2")

#: What RobustBench calls its threat models.
_THREATS = ("Linf", "L2", "corruptions", "corruptions_3d")

Fetched = tuple[nn.Module | None, Normalisation | None, list[str], Path | None]


def _imported(module: str, extra: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name, lacking = module.partition(".")[0], (error.name or "").partition(".")[0]
        if lacking not in ("", name):  # it is there, but not all that it needs itself
            raise RobauditError(
                f"{what}: {name} needs the {lacking} package, which is not installed"
            ) from error
        raise RobauditError(f"{what}: needs the {name} package; pip install 'robaudit[{extra}]'") from error


def _check_reach(what: str, urls: list[str]) -> None:
    """Raise at once where no host answers, instead of after others' minutes of retries."""
    reason = unreachable(urls)
    if reason:
        raise RobauditError(f"{what}: cannot be fetched ({reason}); check the network, or pass a file")


def no_such_model(kind: str, name: str) -> RobauditError:
    """What to say of a name that torchvision's or timm's catalogue has not."""
    if kind == "timm":
        package = _imported("timm", "timm", f"timm:{name}")
        known, listing = package.list_models(), "timm.list_models()"
    else:
        from torchvision import models  # noqa: PLC0415  a second to import

        known, listing = models.list_models(module=models), "torchvision.models.list_models()"
    return RobauditError(f"{kind}:{name}: no such model{meant(name, known)}; {listing} names them")


def _torchvision(name: str) -> Fetched:
    from torchvision import models  # noqa: PLC0415  a second to import

    what = f"torchvision:{name}"
    if name not in models.list_models(module=models):
        raise no_such_model("torchvision", name)
    url = models.get_model_weights(name).DEFAULT.url
    if not (Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name).is_file():
        _check_reach(what, [url])
    network = models.get_model(name, weights="DEFAULT")
    shown = models.get_model_weights(name).DEFAULT.transforms()
    sizes = [
        size[0] if isinstance(size, (list, tuple)) else size for size in (shown.crop_size, shown.resize_size)
    ]
    notes = [
        "torchvision's default weights",
        f"made for images as --image-size {sizes[0]}:{sizes[1]} gives them",
    ]
    text = "/".join(",".join(f"{v:.9g}" for v in side) for side in (shown.mean, shown.std))
    stored = parse_normalisation("imagenet", 3)
    other = parse_normalisation(text, 3)
    return network, stored if (other.mean, other.std) == (stored.mean, stored.std) else other, notes, None


def _timm(name: str) -> Fetched:
    timm = _imported("timm", "timm", f"timm:{name}")
    if not timm.is_model(name):
        raise no_such_model("timm", name)
    with _hub_mode(f"timm:{name}"):
        network = timm.create_model(name, pretrained=True)
    config = network.pretrained_cfg
    numbers = "/".join(",".join(f"{v:.9g}" for v in config[key]) for key in ("mean", "std"))
    side = config["input_size"][-1]
    notes = [
        "timm's pretrained weights",
        f"made for images as --image-size {side}:{round(side / config['crop_pct'])}",
    ]
    notes[1] += " gives them"
    return network, parse_normalisation(numbers, len(config["mean"])), notes, None


@contextmanager
def _hub_mode(what: str) -> Iterator[None]:
    """The Hub's client, told to use only what it has where the Hub cannot be reached."""
    constants = _imported("huggingface_hub.constants", "hub", what)
    before = constants.HF_HUB_OFFLINE
    reason = "" if before else unreachable([constants.ENDPOINT])
    constants.HF_HUB_OFFLINE = before or bool(reason)
    try:
        yield
    except Exception as error:
        if reason and not isinstance(error, RobauditError):
            raise RobauditError(
                f"{what}: cannot be fetched ({reason}), and is not in the cache; check the network, or pass a file"
            ) from error
        raise
    finally:
        constants.HF_HUB_OFFLINE = before


def _hub(name: str) -> Fetched:
    hub = _imported("huggingface_hub", "hub", f"hf:{name}")
    owner, _, file = name.partition("@")
    what = f"hf:{name}"
    with _hub_mode(what):
        file = file or _hub_file(hub, owner, what)
        part = PART.fullmatch(file)
        wanted = [file]
        if part:
            digits = file.removeprefix(f"{part[1]}-").partition("-of-")
            wanted = [
                f"{part[1]}-{number:0{len(digits[0])}}-of-{digits[2]}"
                for number in range(1, int(part[3]) + 1)
            ]
        paths = [Path(hub.hf_hub_download(owner, each, etag_timeout=10)) for each in wanted]
        _fetch_beside(hub, owner)
    note = f"{file} of {owner} on the Hugging Face Hub" + (f", with its {len(wanted)} parts" if part else "")
    return None, None, [note], paths[0].parent if part else paths[0]


def _fetch_beside(hub: Any, owner: str) -> None:
    """Fetch the JSON that says what the tensors are, where there is some; it comes to lie beside them."""
    for name in (CONFIG, PREPROCESSOR):
        try:
            hub.hf_hub_download(owner, name, etag_timeout=10)
        except (hub.errors.EntryNotFoundError, FileNotFoundError):  # neither there nor, offline, in the cache
            continue


def _hub_file(hub: Any, owner: str, what: str) -> str:
    """The file of a repository that holds the model: the usual names first, else the only checkpoint.

    Raises:
        RobauditError: there is none, or there are several.

    """
    if hub.constants.HF_HUB_OFFLINE:
        cached = (hub.try_to_load_from_cache(owner, each) for each in HUB_FILES)
        held = next(
            (each for each, path in zip(HUB_FILES, cached, strict=True) if isinstance(path, str)), None
        )
        if held is None:
            raise FileNotFoundError(owner)
        return held
    names = [str(each) for each in hub.HfApi().list_repo_files(owner)]
    usual = [each for each in HUB_FILES if each in names]
    parts = [each for each in sorted(names) if PART.fullmatch(each)]
    if not usual and parts:
        return next((each for each in parts if each.endswith(".safetensors")), parts[0])
    for ending in HUB_ENDINGS:
        found = usual or [each for each in names if each.endswith(ending)]
        if usual or len(found) == 1:
            return found[0]
        if found:
            raise RobauditError(f"{what}: holds {', '.join(found[:6])}; pass hf:{owner}@FILE")
    raise RobauditError(f"{what}: holds no checkpoint ({', '.join(names[:4])}); pass another repository")


@contextmanager
def _its_autoattack() -> Iterator[None]:
    """The name under which RobustBench imports its requirement `pyautoattack`, where nothing else has that name."""
    names = {"autoattack": "pyautoattack", "autoattack.state": "pyautoattack.state"}
    lent = {} if importlib.util.find_spec("autoattack") else names
    sys.modules.update({name: importlib.import_module(real) for name, real in lent.items()})
    try:
        yield
    finally:
        for name in lent:
            del sys.modules[name]


def _robustbench(name: str) -> Fetched:
    model, _, rest = name.partition(":")
    dataset, _, threat = rest.partition(":")
    dataset, threat, what = dataset or "cifar10", threat or "Linf", f"robustbench:{name}"
    with _its_autoattack():
        utils = _imported("robustbench.utils", "robustbench", what)
    if threat not in _THREATS:
        raise RobauditError(f"{what}: {unknown('threat', threat, _THREATS)}")
    if not (Path("models") / dataset / threat / f"{model}.pt").is_file():
        _check_reach(what, ["https://drive.google.com", "https://huggingface.co"])
    network = utils.load_model(model_name=model, dataset=dataset, threat_model=threat)
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
    try:
        with careful():
            return CATALOGUES[kind](name)
    except RobauditError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise RobauditError(
            f"{kind}:{name}: cannot be fetched ({reason}); check the name and the network, or pass a file"
        ) from error
