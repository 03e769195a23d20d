"""Neighbours of a plain network's words that have the same layers: what shapes cannot tell."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from robaudit.inputs.networks.activations import ACTIVATIONS
from robaudit.inputs.networks.norms import is_norm
from robaudit.inputs.networks.sequential import padded_far


def sequential_variations(words: list[str]) -> Iterator[tuple[list[str], float]]:
    """(words, extra cost) of plain networks with the same layers; `words` itself may be among them."""
    acts = [word for word in words if word in ACTIVATIONS]
    for name in ACTIVATIONS:
        yield [name if word in ACTIVATIONS else word for word in words], 0.5
    yield from _averaged(words)
    for most in (1, len(words)):
        yield padded_far(words, most), 0.8
    for pool in ("max3s2p1", "max3s2"):
        yield ["max2" if word == pool else word for word in words], 0.3
    yield ["gmp" if word == "gap" else word for word in words], 0.5
    for strided in _strided(words):
        yield strided, 0.6
    yield ["flatten-nhwc" if word == "flatten" else word for word in words], 0.8
    yield from _reordered(words, acts)
    if acts and words[-1] == "fcK":
        yield [*words, acts[0]], 1.5
    end = words.index("flatten") if "flatten" in words else 0
    at = max((i for i in range(end) if words[i] in ACTIVATIONS), default=-1)
    if at >= 0:  # what is flattened may have no activation
        yield words[:at] + words[at + 1 :], 0.8


def _averaged(words: list[str]) -> Iterator[tuple[list[str], float]]:
    """Maximum and average poolings in each other's place."""
    if any(word.startswith("max") for word in words):
        yield [re.sub("^max", "avg", word) for word in words], 0.3
        pools = [i for i, word in enumerate(words) if word.startswith("max")]
        for own in (pools[-1:], pools[1:]):  # Caffe's networks begin with a maximum and go on with averages
            yield [re.sub("^max", "avg", word) if i in own else word for i, word in enumerate(words)], 0.6
    if any(word.startswith("avg") for word in words):
        yield [re.sub("^avg", "max", word) for word in words], 0.3


def _reordered(words: list[str], acts: list[str]) -> Iterator[tuple[list[str], float]]:
    """Norm, activation and pooling in another order, and convolutions or linear layers without activation."""
    text = f" {' '.join(words)} "
    norms = dict.fromkeys(word for word in words if is_norm(word))
    for act, norm in itertools.product(dict.fromkeys(acts), norms):
        yield text.replace(f" {norm} {act} ", f" {act} {norm} ").split(), 0.3
        yield text.replace(f" {act} {norm} ", f" {norm} {act} ").split(), 0.3
    for act in dict.fromkeys(acts):
        for pool in dict.fromkeys(word for word in words if word.startswith(("max", "avg"))):
            yield text.replace(f" bn {act} {pool} ", f" {act} {pool} bn ").split(), 0.6
            if pool.startswith("max") and act == "relu":
                continue  # they commute
            yield text.replace(f" {act} {pool} ", f" {pool} {act} ").split(), 0.3
            yield text.replace(f" bn {act} {pool} ", f" {pool} bn {act} ").split(), 0.3
        flat = text.split(" flatten", maxsplit=1)[0]
        yield text.replace(flat, flat.replace(f" {act} ", " ")).split() if acts.count(act) else words, 1.5
        head = text[len(flat) :]
        yield (flat + head.replace(f" {act} ", " ")).split(), 1.5


def _strided(words: list[str]) -> Iterator[list[str]]:
    """A convolution of stride 2 where one of stride 1 and a pooling were, and the other way round."""
    convs = [i for i, word in enumerate(words) if word.startswith("conv")]
    for i, end in itertools.pairwise([*convs, len(words)]):
        match = re.fullmatch(r"(conv[^sp]+)(s2)?(p.*|n)?", words[i])
        pools = [j for j in range(i, end) if words[j] == "max2"]
        if match and match[2] and not pools:
            at = next((j for j in range(i, end) if words[j] in ACTIVATIONS), i) + 1
            yield [*words[:i], match[1] + (match[3] or ""), *words[i + 1 : at], "max2", *words[at:]]
        elif match and not match[2] and len(pools) == 1:
            word = f"{match[1]}s2{match[3] or ''}"
            yield [*words[:i], word, *words[i + 1 : pools[0]], *words[pools[0] + 1 :]]
