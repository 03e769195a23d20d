"""Plain networks from shapes: strides, padding and pooling that make the first linear layer's input fit.

Every choice has a cost (how unusual it is in published code); a beam over the convolutions keeps the
cheapest ways to reach each image side, and those whose side the linear layer confirms are candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from robaudit.inputs.networks.norms import SCALED, divides
from robaudit.inputs.networks.sequential import padded_far
from robaudit.inputs.networks.sequential_family import SequentialPlan
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.chains import Chain, Unit, chained, file_order
from robaudit.inputs.recovery.sequential_partials import Partial, layer_partials
from robaudit.inputs.recovery.special import resnet_9


def _heads(side: int, channels: int, features: int) -> Iterator[tuple[tuple[str, ...], float]]:
    """Words between the last convolution and a linear layer of `features` inputs."""
    if features % channels:
        return
    left = math.isqrt(features // channels)
    if left * left * channels != features:
        return
    if left == side:
        yield ("flatten",), 0.0
    elif left == 1:
        yield ("gap", "flatten"), 0.6
    elif left < side and side % left == 0:
        window = side // left
        yield (f"avg{window}", "flatten"), 1.2
    elif left > side or side % left:
        yield (f"adapt{left}", "flatten"), 4.0 if left > side else 2.0  # enlarging is rare


def _linear_words(units: list[Unit]) -> tuple[str, ...]:
    words: list[str] = []
    for i, unit in enumerate(units):
        last = i + 1 == len(units)
        outs = "K" if last else str(unit.layer.shape[0])
        norm = ["bn"] if unit.norm else []
        act = [] if last or unit.after == 0 else ["relu"]
        swap = (unit.inside or 0) >= 1
        words += [f"fc{outs}", *(act + norm if swap else norm + act)]
    return tuple(words)


def sequential_candidates(chain: Chain, in_channels: int, image_size: int) -> list[Candidate]:
    """Plain networks that the layers may be, for images (in_channels, image_size, image_size)."""
    first, units = chain
    convs = [unit for unit in units if unit.layer.kind == "conv"]
    linears = [unit for unit in units if unit.layer.kind == "linear"]
    start = in_channels if convs else in_channels * image_size * image_size
    if (
        not chained(units, start)
        or len(units) > 200
        or (linears and not convs and linears[0].layer.shape[1] != start)
    ):
        return []
    texts: list[tuple[float, tuple[str, ...]]] = []
    if not convs:
        texts.append((0.0, ("flatten", *_linear_words(linears))))
    else:
        for side, partials in layer_partials(convs, in_channels, image_size, answers=not linears).items():
            texts += _finished(partials, side, convs, linears)
    if units[0].opening:
        padded = [(cost - 0.3, tuple(padded_far(list(words), 1))) for cost, words in texts]
        texts += [new for new, old in zip(padded, texts, strict=True) if new[1] != old[1]]
    texts = _normed([*texts, *resnet_9(convs, linears, image_size, _linear_words(linears))], units)
    order = file_order(first, units)
    lead = ("bn",) if first else ()
    classes = units[-1].layer.shape[0]
    return [
        Candidate(SequentialPlan((*lead, *words)), order, in_channels, image_size, classes, cost)
        for cost, words in sorted(texts)
    ]


def _normed(
    texts: list[tuple[float, tuple[str, ...]]], units: list[Unit]
) -> list[tuple[float, tuple[str, ...]]]:
    """The texts as they are, or, where norms have no statistics, with each kind that fits in place of `bn`."""
    norms = [unit.norm for unit in units if unit.norm]
    if not norms or norms[0].kind == "norm":
        return texts
    widths = {unit.norm.shape[0] for unit in units if unit.norm and unit.layer.kind == "conv"}
    kinds = {word: cost for word, cost in SCALED.items() if divides(word, widths)} if widths else {"gn1": 0.0}
    found = []
    for cost, words in texts:
        flat = next(i for i, word in enumerate(words) if word == "flatten")
        for kind, odd in kinds.items():
            swapped = (
                ("gn1" if i > flat else kind) if word == "bn" else word for i, word in enumerate(words)
            )
            found.append((cost + odd, tuple(swapped)))
    return found


def _finished(
    partials: list[Partial], side: int, convs: list[Unit], linears: list[Unit]
) -> Iterator[tuple[float, tuple[str, ...]]]:
    """Ways with their heads: linear layers, or global pooling where the last convolution gives the classes."""
    channels = convs[-1].layer.shape[0]
    for partial in partials:
        if linears:
            for words, cost in _heads(side, channels, linears[0].layer.shape[1]):
                yield partial.cost + cost, (*partial.words, *words, *_linear_words(linears))
        else:
            words = partial.words[:-1] if partial.words[-1] == "relu" else partial.words
            yield partial.cost + (1.0 if side > 1 else 0.0), (*words, "gap", "flatten")
