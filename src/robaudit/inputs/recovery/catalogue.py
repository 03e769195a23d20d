"""Networks of torchvision and timm, with a file's tensors."""

from __future__ import annotations

import re

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.files.several import State, put_in
from robaudit.inputs.hubs import no_such_model
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.catalogue_index import indexed_names
from robaudit.inputs.recovery.layers import HEAD, Layer, chain_classes, input_channels, module_layers
from robaudit.inputs.recovery.matching import difference


def build_catalogue(kind: str, name: str, classes: int, in_channels: int) -> nn.Module:
    """A torchvision or timm network with fresh weights.

    The name may be a file's, so it is one of the package's own list: others fetch what they name, or follow a path.

    Raises:
        RobauditError: not installed, or no such model.

    """
    try:
        if not _is_listed(kind, name):
            raise no_such_model(kind, name)
        if kind == "torchvision":
            from torchvision import models  # noqa: PLC0415  a second to import

            options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
            return network
        import timm  # noqa: PLC0415  an extra

        made: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=in_channels)
        return made
    except RobauditError:
        raise
    except ImportError as error:
        raise RobauditError(f"{kind}:{name}: needs {kind}; pip install 'robaudit[timm]'") from error
    except Exception as error:
        raise RobauditError(f"{kind}:{name}: cannot be built ({type(error).__name__}: {error})") from error


def _is_listed(kind: str, name: str) -> bool:
    """Whether a package has a classifier of that name; timm's may be followed by the name of weights."""
    if kind == "torchvision":
        from torchvision import models  # noqa: PLC0415

        return name in models.list_models(module=models)
    import timm  # noqa: PLC0415

    return re.fullmatch(r"[A-Za-z0-9_.-]+", name) is not None and timm.is_model(name)


def catalogue_options(
    state: State,
    layers: list[Layer],
    shape: tuple[int, int, int] | None,
    only: str = "",
    *,
    build: bool = True,
    notes: list[str] | None = None,
) -> list[Candidate]:
    """Candidates from the catalogues, loaded by name (after a common prefix) or else in order.

    Args:
        state: the file's tensors.
        layers: the same as layers.
        shape: (C, H, W) of the images, where there are some.
        only: a single `torchvision:NAME` or `timm:NAME` to take.
        build: otherwise they are only named, and nothing is imported.
        notes: sentences for the report are added to it.

    Raises:
        RobauditError: there is no such model as `only` names, or the file does not fit it.

    """
    found = []
    classes = chain_classes(layers)
    channels = input_channels(layers) or 3
    size = shape[1] if shape else 224
    known = [name for name in indexed_names(layers) if ":" in name]
    tried = [(only, count) for count in _counts(layers)] if only else [(name, classes) for name in known[:4]]
    for text, classes in tried:
        if not build:
            found.append(Candidate(text, tuple(layers), channels, size, classes, -0.5))
            if only:
                break
            continue
        kind, _, name = text.partition(":")
        if only and not _holds(kind, name, classes, channels, state):
            continue
        try:
            network = build_catalogue(kind, name, classes, channels)
        except RobauditError:
            if only:
                raise
            continue
        loaded, spare = _loaded(network, state, part=bool(only))
        if spare and notes is not None:
            notes.append(f"warning: left out {_listed(spare)}, which {text} has not")
        if loaded:
            exact = loaded == "by name"
            price = len(found) / 10 - 0.5  # of those that compute the same, the first named is meant
            found.append(
                Candidate(
                    plan=text,
                    layers=(),
                    in_channels=channels,
                    image_size=size,
                    classes=classes,
                    price=price,
                    network=network,
                    exact=exact,
                )
            )
            if only:
                break
    if only and not found:
        raise _misfit(only, layers, classes, channels)
    return found


def _counts(layers: list[Layer]) -> list[int]:
    """How many classes there may be, the likeliest first: what follows the network may give other numbers."""
    heads = [layer.shape[0] for layer in layers if layer.kind == "linear" and HEAD.search(layer.name)]
    return list(dict.fromkeys([chain_classes(layers), *heads]))[:4]


def _misfit(text: str, layers: list[Layer], classes: int, channels: int) -> RobauditError:
    """What to say of a file that is not of the network which the user named."""
    kind, _, name = text.partition(":")
    with torch.device("meta"):
        own = module_layers(build_catalogue(kind, name, classes, channels))
    return RobauditError(
        f"--arch {text}: the file does not fit it: {difference(own, layers)}; leave --arch out or name another"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more tensors" if len(names) > 4 else "")


def _holds(kind: str, name: str, classes: int, channels: int, state: State) -> bool:
    """Whether a file may hold all numbers of a network, which are not allocated to tell; some need to be."""
    try:
        with torch.device("meta"):
            wanted = build_catalogue(kind, name, classes, channels)
    except RobauditError:
        return True
    return _numbers(wanted.state_dict()) <= _numbers(state)


def _numbers(state: State) -> int:
    return sum(tensor.numel() for tensor in state.values() if tensor.ndim)


def _loaded(network: nn.Module, state: State, *, part: bool = False) -> tuple[str, list[str]]:
    """How the tensors were put into the network, by name, in order or not at all (empty), and those left out.

    With `part` some may be left out where the others have the network's names.
    """
    own = _counted(network.state_dict())
    theirs = _counted(state)
    for prefix in ("", *sorted({key.split(".")[0] + "." for key in theirs})):
        renamed = {key.removeprefix(prefix): tensor for key, tensor in theirs.items()}
        if own.keys() == renamed.keys() or (part and own.keys() < renamed.keys()):
            how = "by name"
            break
    else:
        if len(own) != len(theirs):
            return "", []
        how = "in order"
        renamed = dict(zip(own, theirs.values(), strict=True))
    if any(own[key].shape != renamed[key].shape for key in own):
        return "", []
    put_in(network, {key: renamed[key].float() for key in own})
    return how, [key for key in renamed if key not in own]


def _counted(state: State) -> State:
    """The tensors but counters."""
    return {key: tensor for key, tensor in state.items() if tensor.ndim or tensor.is_floating_point()}
