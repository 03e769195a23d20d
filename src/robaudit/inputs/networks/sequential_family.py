"""Plain networks as plans: their words, and what shapes cannot tell of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from robaudit.inputs.networks.activations import ACTIVATIONS
from robaudit.inputs.networks.family import RARE, Family, Free
from robaudit.inputs.networks.norms import is_norm
from robaudit.inputs.networks.sequential import build_sequential, padded_far
from robaudit.inputs.networks.texts import sequential_spec, sequential_words

Words = list[str]


@dataclass(frozen=True)
class SequentialPlan:
    """A plain network: its words (`networks.sequential` has their table)."""

    words: tuple[str, ...]

    @property
    def activation(self) -> str:
        """The first activation, `relu` where there is none."""
        return next((word for word in self.words if word in ACTIVATIONS), "relu")


def activates_logits(plan: Any, other: Any) -> bool:
    """Whether a plan is the other with an activation of the logits."""
    if not isinstance(plan, SequentialPlan) or not isinstance(other, SequentialPlan):
        return False
    return plan.words[:-1] == other.words and plan.words[-1] in ACTIVATIONS


def _free(
    name: str,
    changes: Callable[[Words], Iterable[tuple[Words, float]]],
    *,
    joint: bool = False,
    plain: Callable[[str], str] | None = None,
) -> Free:
    """A free field, of changes of the words; `plain` makes each word the usual one."""

    def on_plans(plan: SequentialPlan) -> Iterator[tuple[SequentialPlan, float]]:
        for words, price in changes(list(plan.words)):
            if tuple(words) != plan.words:
                yield SequentialPlan(tuple(words)), price

    usual = None if plain is None else lambda plan: SequentialPlan(tuple(map(plain, plan.words)))
    return Free(name, on_plans, joint, usual)


def _replaced(words: Words, old: str, new: str) -> Words:
    return [re.sub(old, new, word) for word in words]


def _activations(words: Words) -> Iterator[tuple[Words, float]]:
    own = SequentialPlan(tuple(words)).activation
    for name in ACTIVATIONS:
        price = RARE * ((name != "relu") - (own != "relu"))
        yield [name if word in ACTIVATIONS else word for word in words], price


def _averaged(words: Words) -> Iterator[tuple[Words, float]]:
    """Maximum and average poolings in each other's place."""
    yield _replaced(words, "^max", "avg"), AVERAGED
    yield _replaced(words, "^avg", "max"), -AVERAGED


def _mixed(words: Words) -> Iterator[tuple[Words, float]]:
    """Some of the maximum poolings averages: Caffe's networks begin with a maximum and go on with averages."""
    pools = [i for i, word in enumerate(words) if word.startswith("max")]
    for own in (pools[-1:], pools[1:]):
        yield [re.sub("^max", "avg", word) if i in own else word for i, word in enumerate(words)], RARE


def _swapped(old: str, new: str) -> Callable[[Words], Iterator[tuple[Words, float]]]:
    """One word in another's place."""
    return lambda words: iter([([new if word == old else word for word in words], RARE)])


def _far(words: Words) -> Iterator[tuple[Words, float]]:
    yield from ((padded_far(words, most), RARE) for most in (1, len(words)))


def _bare(words: Words) -> Iterator[tuple[Words, float]]:
    """No activations between convolutions (Caffe's LeNet has them between its linear layers only)."""
    flat = words.index("flatten") if "flatten" in words else 0
    linear = [word for word in words[:flat] if word not in ACTIVATIONS]
    if len(linear) < flat:
        yield [*linear, *words[flat:]], RARE
        yield _replaced([*linear, *words[flat:]], "^max", "avg"), RARE + AVERAGED


def _silent(words: Words) -> Iterator[tuple[Words, float]]:
    """What is flattened may have no activation, and what is behind it none at all."""
    end = words.index("flatten") if "flatten" in words else 0
    at = max((i for i in range(end) if words[i] in ACTIVATIONS), default=-1)
    if at >= 0:
        yield words[:at] + words[at + 1 :], RARE
    yield [*words[:end], *(word for word in words[end:] if word not in ACTIVATIONS)], RARE


def _answering(words: Words) -> Iterator[tuple[Words, float]]:
    """An activation of the logits."""
    acts = [word for word in words if word in ACTIVATIONS]
    if acts and words[-1] == "fcK":
        yield [*words, acts[0]], RARE


def _reordered(words: Words) -> Iterator[tuple[Words, float]]:
    """Norm, activation and pooling in another order."""
    text = f" {' '.join(words)} "
    acts = dict.fromkeys(word for word in words if word in ACTIVATIONS)
    norms = dict.fromkeys(word for word in words if is_norm(word))
    pools = dict.fromkeys(word for word in words if word.startswith(("max", "avg")))
    orders: list[tuple[Sequence[str], Sequence[str]]] = []
    orders += [((norm, act), (act, norm)) for act, norm in itertools.product(acts, norms)]
    orders += [((act, norm), (norm, act)) for act, norm in itertools.product(acts, norms)]
    for act, pool in itertools.product(acts, pools):
        orders.append((("bn", act, pool), (act, pool, "bn")))
        if not (pool.startswith("max") and act == "relu"):  # these commute
            orders += [((act, pool), (pool, act)), (("bn", act, pool), (pool, "bn", act))]
    for old, new in orders:
        yield text.replace(f" {' '.join(old)} ", f" {' '.join(new)} ").split(), RARE


def _strided(words: Words) -> Iterator[tuple[Words, float]]:
    """A convolution of stride 2 where one of stride 1 and a pooling were, and the other way round."""
    convs = [i for i, word in enumerate(words) if word.startswith("conv")]
    for i, end in itertools.pairwise([*convs, len(words)]):
        match = re.fullmatch(r"(conv[^sp]+)(s2)?(p.*|n)?", words[i])
        pools = [j for j in range(i, end) if words[j] == "max2"]
        if match and match[2] and not pools:
            at = next((j for j in range(i, end) if words[j] in ACTIVATIONS), i) + 1
            yield [*words[:i], match[1] + (match[3] or ""), *words[i + 1 : at], "max2", *words[at:]], RARE
        elif match and not match[2] and len(pools) == 1:
            word = f"{match[1]}s2{match[3] or ''}"
            yield [*words[:i], word, *words[i + 1 : pools[0]], *words[pools[0] + 1 :]], RARE


#: The price of average pooling.
AVERAGED = 0.5

FAMILY = Family(
    SequentialPlan,
    parse=lambda text: (
        None if (words := sequential_words(text)) is None else SequentialPlan(tuple(words.split()))
    ),
    text=lambda plan: sequential_spec(" ".join(plan.words)),
    build=lambda plan, classes, channels, side: build_sequential(
        " ".join(plan.words), classes, channels, side
    ),
    free=(
        _free("activation", _activations, plain=lambda word: "relu" if word in ACTIVATIONS else word),
        _free("average pooling", _averaged, joint=True, plain=lambda word: re.sub("^avg", "max", word)),
        _free("some average pooling", _mixed),
        _free("padding on the far side", _far),
        _free(
            "padded pooling",
            lambda words: [c for old in ("max3s2p1", "max3s2") for c in _swapped(old, "max2")(words)],
        ),
        _free("global maximum", _swapped("gap", "gmp")),
        _free("stride for pooling", _strided),
        _free("channels last", _swapped("flatten", "flatten-nhwc"), joint=True),
        _free("order", _reordered),
        _free("linear convolutions", _bare, joint=True),
        _free("silent features", _silent),
        _free("activated logits", _answering),
    ),
)
