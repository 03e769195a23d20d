"""From a file's state dicts to the architectures they may be."""

from __future__ import annotations

from dataclasses import replace

from robaudit.errors import RobauditError
from robaudit.inputs.networks.families import build, parse
from robaudit.inputs.networks.family import Plan
from robaudit.inputs.networks.texts import SEQUENTIAL, VGGS
from robaudit.inputs.recovery.candidates import Candidate, fits
from robaudit.inputs.recovery.chains import Chain, file_order, read_units
from robaudit.inputs.recovery.layers import Layer, alphabetical, chain_classes, input_channels, module_layers
from robaudit.inputs.recovery.ordering import in_natural_order, linears_last
from robaudit.inputs.recovery.published import (
    exact_candidates,
    in_own_order,
    proposed_candidates,
    published_candidates,
)
from robaudit.inputs.recovery.residual import residual_candidates
from robaudit.inputs.recovery.sequential import sequential_candidates
from robaudit.inputs.recovery.slopes import with_slopes, without_slopes
from robaudit.inputs.recovery.transformer import transformer_candidates

#: Image sides tried by channels where no images are given.
SIDES = {1: (28, 32, 8), 3: (32, 64, 224, 96)}
#: A convolution wider than this is a batch of images that somebody registered as a buffer.
LARGEST_KERNEL = 16
#: Convolutions up to which what reads as residual is tried as a plain network too.
PLAIN_CONVS = 8


def drop_batches(layers: list[Layer]) -> tuple[list[Layer], list[str]]:
    """The layers without those that are stored images, and the names of these."""
    stored = [layer for layer in layers if layer.kind == "conv" and min(layer.shape[2:]) > LARGEST_KERNEL]
    return [layer for layer in layers if layer not in stored], [layer.name for layer in stored]


def published(order: list[Layer], channels: int, side: int) -> list[Candidate]:
    """Plain networks with a name whose layers are exactly these."""
    kinds = [layer.kind for layer in order]
    counts = [kinds.count(kind) for kind in ("conv", "norm", "linear")]
    plans = [
        plan
        for plan in map(parse, (*SEQUENTIAL, *VGGS))
        if counts == [sum(word.startswith(start) for word in plan.words) for start in ("conv", "bn", "fc")]
    ]
    return exact_candidates(plans, order, (channels, side, chain_classes(order)))


def candidates(layers: list[Layer], shape: tuple[int, int, int] | None) -> list[Candidate]:
    """Architectures that the layers may be, the likeliest first.

    Args:
        layers: as `read_layers` gives them.
        shape: (C, H, W) of the images, or None to guess.

    """
    known = published_candidates(layers, shape) or transformer_candidates(layers, shape)
    if known:
        return known
    layers = linears_last(layers)
    natural = [in_natural_order(layers), in_natural_order(layers, stem_norm=False)]
    if not alphabetical(layers):
        return next((found for order in [layers, *natural] if (found := _candidates(order, shape))), [])
    merged: dict[Plan, Candidate] = {}
    orders: dict[tuple[int, ...], tuple[int, list[Layer]]] = {}
    for rank, order in enumerate([*natural, layers]):
        orders.setdefault(tuple(map(id, order)), (rank, order))
    for rank, order in orders.values():
        for option in _candidates(order, shape):
            merged.setdefault(option.plan, replace(option, price=option.price + 0.4 * rank))
    return sorted(merged.values(), key=lambda option: option.price)


def _candidates(layers: list[Layer], shape: tuple[int, int, int] | None) -> list[Candidate]:
    channels = input_channels(layers)
    found: list[Candidate] = []
    if shape is not None:
        sizes = [(shape[0], shape[1])] if channels in (None, shape[0]) else []
    elif channels is not None:
        sizes = [(channels, side) for side in SIDES.get(channels, (32, 64, 28, 224))]
    else:
        sizes = [(c, side) for c, sides in SIDES.items() for side in sides]
    rest, slopes = without_slopes(layers)
    chain = read_units(layers)
    order = list(file_order(*chain)) if chain else []
    unsloped = read_units(rest) if slopes else chain
    for c, side in sizes:
        residual = residual_candidates(layers, side)
        named = published(order, c, side) if order else []
        residual = residual or proposed_candidates(layers, side)
        plain = (
            _plain(unsloped, slopes, c, side) if unsloped and not (residual and not _short(layers)) else []
        )
        found += [
            *named,
            *residual,
            *(option for option in plain if option.plan not in {n.plan for n in named}),
        ]
        if found:
            break
    if len(slopes) == 1:  # perhaps no slope but a temperature, which changes no prediction
        found += [replace(option, price=option.price + 0.5) for option in _candidates(rest, shape)]
    return sorted(found, key=lambda candidate: candidate.price)


def _plain(chain: Chain, slopes: list[Layer], channels: int, side: int) -> list[Candidate]:
    """Plain networks, with learned slopes where the file has such."""
    found = sequential_candidates(chain, channels, side)
    return [new for old in found if (new := with_slopes(old, slopes))] if slopes else found


def _short(layers: list[Layer]) -> bool:
    """Whether so few convolutions of no shortcut may as well be a plain network."""
    kernels = [layer.shape[2] for layer in layers if layer.kind == "conv"]
    return len(kernels) <= PLAIN_CONVS and min(kernels) > 1


def named_candidate(spec: str, layers: list[Layer], shape: tuple[int, int, int] | None) -> Candidate:
    """The architecture that the user named, with the file's layers in its order.

    Raises:
        RobauditError: the name is unknown or the tensors do not fit it.

    """
    known = candidates(layers, shape)
    exact = [candidate for candidate in known if candidate.text == spec]
    if exact:
        return exact[0]
    channels = input_channels(layers) or (shape[0] if shape else 1)
    side = shape[1] if shape else known[0].image_size if known else SIDES.get(channels, (32,))[0]
    classes = chain_classes(layers)
    plan = parse(spec)
    own = module_layers(build(plan, classes=classes, in_channels=channels, image_size=side))
    recovered = (list(candidate.layers) for candidate in known if fits(own, list(candidate.layers)))
    order = in_own_order(own, layers) or next(recovered, None) or by_shape(own, layers)
    if order is None:
        raise RobauditError(
            f"--arch {spec}: the file does not fit it: {difference(own, layers)}; leave --arch out or name another"
        )
    return Candidate(plan, tuple(order), channels, side, classes, 0.0)


def by_shape(own: list[Layer], theirs: list[Layer]) -> list[Layer] | None:
    """The file's layers in the network's order where each is the next of its kind and shape."""
    rest = list(theirs)
    order = []
    for mine in own:
        at = next((i for i, layer in enumerate(rest) if fits([mine], [layer])), None)
        if at is None:
            return None
        order.append(rest.pop(at))
    return None if rest else order


def difference(own: list[Layer], theirs: list[Layer]) -> str:
    """In words, the first thing that sets two sequences of layers apart."""
    if len(own) != len(theirs):
        return f"it has {len(theirs)} layers, the architecture {len(own)}"
    for mine, other in zip(own, theirs, strict=True):
        if (mine.kind, mine.shape) != (other.kind, other.shape):
            return (
                f"{other.name} is {other.kind} {other.shape}, the architecture has {mine.kind} {mine.shape}"
            )
    return "the order of its layers"
