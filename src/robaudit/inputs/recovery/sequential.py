"""Plain networks from shapes: strides, padding and pooling that make the first linear layer's input fit.

Every choice has a cost (how unusual it is in published code); a beam over the convolutions keeps the
cheapest ways to reach each image side, and those whose side the linear layer confirms are candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from robaudit.inputs.networks.norms import SCALED, divides
from robaudit.inputs.networks.sequential import padded_far
from robaudit.inputs.networks.specs import sequential_spec
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.chains import Unit, chained, file_order, read_units
from robaudit.inputs.recovery.layers import Layer
from robaudit.inputs.recovery.sequential_ways import Way, layer_ways


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


def sequential_candidates(layers: list[Layer], in_channels: int, image_size: int) -> list[Candidate]:
    """Plain networks that the layers may be, for images (in_channels, image_size, image_size)."""
    read = read_units(layers)
    if read is None:
        return []
    first, units = read
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
        for side, ways in layer_ways(convs, in_channels, image_size, answers=not linears).items():
            texts += _finished(ways, side, convs, linears)
    if units[0].opening:
        padded = [(cost - 0.3, tuple(padded_far(list(words), 1))) for cost, words in texts]
        texts += [new for new, old in zip(padded, texts, strict=True) if new[1] != old[1]]
    texts = _normed([*texts, *_nine(convs, linears, image_size)], units)
    order = file_order(first, units)
    lead = ("bn",) if first else ()
    classes = units[-1].layer.shape[0]
    return [
        Candidate(sequential_spec(" ".join((*lead, *words))), order, in_channels, image_size, classes, cost)
        for cost, words in sorted(texts)
    ]


def _nine(convs: list[Unit], linears: list[Unit], side: int) -> Iterator[tuple[float, tuple[str, ...]]]:
    """ResNet-9 (https://myrtle.ai/learn/how-to-train-your-resnet): two pairs of eight convolutions have skips."""
    shapes = [unit.layer.shape for unit in convs]
    alike = [i for i, shape in enumerate(shapes) if shape[0] == shape[1]]
    if len(shapes) != 8 or alike[-4:] != [2, 3, 6, 7] or any(shape[2:] != (3, 3) for shape in shapes):
        return
    words = [[f"conv{unit.layer.shape[0]}k3p1", *(["bn"] if unit.norm else []), "relu"] for unit in convs]
    body: list[str] = []
    for i, part in enumerate(words):
        body += [*(["skip"] if i in (2, 6) else []), *part, *(["add"] if i in (3, 7) else [])]
        body += ["max2"] if i in (1, 4, 5) else []
    left = linears[0].layer.shape[1] // shapes[-1][0] if linears else 0
    for pool in ("gmp", "gap", "max2") if side % 16 == 0 else ("gmp", "gap"):
        if left == (1 if pool != "max2" else (side // 16) ** 2):
            yield 0.0 if pool == "gmp" else 0.6, (*body, pool, "flatten", *_linear_words(linears))


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
    ways: list[Way], side: int, convs: list[Unit], linears: list[Unit]
) -> Iterator[tuple[float, tuple[str, ...]]]:
    """Ways with their heads: linear layers, or global pooling where the last convolution gives the classes."""
    channels = convs[-1].layer.shape[0]
    for way in ways:
        if linears:
            for words, cost in _heads(side, channels, linears[0].layer.shape[1]):
                yield way.cost + cost, (*way.words, *words, *_linear_words(linears))
        else:
            words = way.words[:-1] if way.words[-1] == "relu" else way.words
            yield way.cost + (1.0 if side > 1 else 0.0), (*words, "gap", "flatten")
