"""Ways through a plain network's convolutions: strides, paddings and pooling, the cheapest by the side they leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from robaudit.inputs.networks.sequential import pooled
from robaudit.inputs.recovery.chains import Unit

#: (stride, padding, cost) by kernel: habits of published small networks.
CONVS: dict[int, tuple[tuple[int, int, float], ...]] = {
    1: ((1, 0, 0.0), (2, 0, 1.5)),
    2: ((2, 0, 0.4), (1, 0, 0.4), (1, 1, 1.2)),
    3: ((1, 1, 0.0), (1, 0, 0.4), (2, 1, 0.5), (2, 0, 1.4), (1, 3, 2.0), (1, 2, 2.0)),
    4: (
        (2, 1, 0.0),
        (2, 0, 0.4),
        (1, 0, 1.0),
        (1, 1, 1.2),
        (1, 2, 1.2),
        (4, 0, 1.2),
        (2, 2, 1.6),
        (3, 0, 1.8),
    ),
    5: ((1, 0, 0.0), (1, 2, 0.2), (2, 2, 0.8), (2, 0, 0.8), (2, 1, 1.2), (1, 1, 1.2)),
    6: ((2, 2, 0.4), (2, 0, 0.4), (1, 0, 0.6), (2, 3, 0.8), (3, 0, 1.2)),
    7: ((1, 3, 0.2), (2, 3, 0.2), (1, 0, 0.4), (2, 0, 1.0)),
    11: ((4, 5, 0.2), (4, 2, 0.2), (1, 5, 1.4), (4, 0, 0.8)),
    8: ((2, 3, 0.2), (2, 0, 0.4), (4, 2, 0.8), (2, 2, 0.8), (1, 0, 0.8), (8, 0, 1.0)),
}
#: Cost of the usual pooling, and of any that the network had before.
USUAL = 0.2
#: (word, window, stride, padding, cost) of pooling after a convolution.
POOLS = (
    ("", 1, 1, 0, 0.0),
    ("max2", 2, 2, 0, USUAL),
    ("max3s2", 3, 2, 0, 1.4),
    ("max3s2p1", 3, 2, 1, 1.2),
    ("max2s1", 2, 1, 0, 2.0),
    ("max3", 3, 3, 0, 1.8),
    ("max4", 4, 4, 0, 1.8),
    ("max2p1", 2, 2, 1, 2.2),
)


#: (most convolutions, partial networks kept a side and habit, poolings tried): deep nets are regular, small ones odd.
LIMITS: tuple[tuple[int, int, tuple[tuple[str, int, int, int, float], ...]], ...] = (
    (4, 8, POOLS),
    (8, 4, POOLS[:5]),
    (1 << 30, 3, POOLS[:4]),
)


@dataclass(frozen=True)
class Partial:
    """How to reach a side: the words so far, their cost, the last padding habit, the last pooling."""

    cost: float
    words: tuple[str, ...]
    habit: tuple[int, bool] | None
    pool: str


def _options(unit: Unit, ins: int) -> Iterator[tuple[str, int, int, int, float]]:
    """(word, kernel, stride, padding, cost) of a convolution."""
    outs, inner, kernel, _ = unit.layer.shape
    groups = ins // inner
    habits = CONVS.get(
        kernel, ((1, kernel // 2, 0.2), (1, 0, 0.4), (2, kernel // 2, 0.6), (kernel, 0, 0.6), (4, 2, 0.6))
    )
    for stride, padding, cost in habits:
        word = (
            f"conv{outs}k{kernel}" + (f"s{stride}" if stride > 1 else "") + (f"p{padding}" if padding else "")
        )
        odd = 4.0 if groups > 1 and inner > 1 else 0.0  # depthwise is usual, other groups are a misreading
        yield word + (f"g{groups}" if groups > 1 else ""), kernel, stride, padding, cost + odd


def _unit_words(unit: Unit, word: str, pool: str) -> tuple[str, ...]:
    """A unit's words in order; numbers in names may show that the activation precedes the norm."""
    between = unit.inside or 0
    norm = ("bn",) if unit.norm else ()
    pools = (pool,) if pool else ()
    if unit.norm and between >= 1:
        return (word, "relu", *(pools if between >= 2 else ()), *norm, *(() if between >= 2 else pools))
    if unit.after == 0 and not pool:
        return (word, *norm)
    return (word, *norm, "relu", *pools)


def _pool_cost(unit: Unit, pool: str, widens: bool, strided: bool, last: bool) -> float:
    """How unusual pooling (or none) is at this place."""
    free = None if unit.after is None else unit.after + (unit.inside or 0) - (1 if last else 0)
    cost = 0.0
    if pool:
        cost += 1.0 if strided and (free is None or free < 2) else 0.0
        cost += 0.0 if widens or last else 0.5
        cost += 4.0 if free is not None and free < 2 else 0.0
    elif free is not None and free >= 2:
        cost += 1.3
    elif not strided:
        cost += 0.3 if widens or last else 0.0
    return cost


def layer_partials(
    convs: list[Unit], in_channels: int, side: int, answers: bool = False
) -> dict[int, list[Partial]]:
    """The cheapest ways through all convolutions, by the side they leave.

    Args:
        convs: in the file's order.
        in_channels: of the images.
        side: of the images.
        answers: whether the last one gives the classes, no linear layer following.

    """
    beams: dict[int, list[Partial]] = {side: [Partial(0.0, (), None, "")]}
    channels = in_channels
    beam, pools = next((beam, pools) for most, beam, pools in LIMITS if len(convs) <= most)
    for i, unit in enumerate(convs):
        last = i + 1 == len(convs)
        outs = unit.layer.shape[0]
        widens = last or convs[i + 1].layer.shape[0] > outs
        # A convolution over the whole map is a linear layer in disguise, with only such behind it.
        ends = all(later.layer.shape[2] == 1 for later in convs[i + 1 :])
        grown: dict[int, list[Partial]] = {}
        for current, partials in beams.items():
            for word, kernel, stride, padding, cost in _options(unit, channels):
                middle = pooled(current, kernel, stride, padding)
                covers = ends and kernel == current > 1 and (stride, padding) == (1, 0)
                habit = (stride, padding > 0) if kernel > 1 and not covers else None
                for pool, window, step, pad, extra in pools[:1] if answers and last else pools:
                    after = pooled(middle, window, step, pad) if middle > 0 else -1
                    if after < 1:
                        continue
                    more = (0.0 if covers else cost) + _pool_cost(unit, pool, widens, stride > 1, last)
                    words = _unit_words(unit, word, pool)
                    grown.setdefault(after, []).extend(
                        _extended(
                            partial,
                            words,
                            more + (min(extra, USUAL) if pool == partial.pool else extra),
                            habit,
                            pool,
                        )
                        for partial in partials
                    )
        beams = {key: _thinned(partials, beam) for key, partials in grown.items()}
        channels = outs
    return beams


def _extended(
    partial: Partial, words: tuple[str, ...], cost: float, habit: tuple[int, bool] | None, pool: str
) -> Partial:
    change = 0.5 if habit and partial.habit and habit[1] != partial.habit[1] else 0.0
    change += 0.6 if habit and habit[0] > 1 and (partial.pool or pool) else 0.0
    change += (
        0.6 if pool and ((partial.habit and partial.habit[0] > 1) or partial.pool not in ("", pool)) else 0.0
    )
    strided = (
        (max(habit[0], partial.habit[0]), habit[1]) if habit and partial.habit else habit or partial.habit
    )
    return Partial(partial.cost + cost + change, partial.words + words, strided, pool or partial.pool)


def _thinned(partials: list[Partial], beam: int) -> list[Partial]:
    """The cheapest ways, some of each habit."""
    partials = sorted(partials, key=lambda partial: partial.cost)[: 20 * beam]
    kept: list[Partial] = []
    counts: dict[object, int] = {}
    for partial in partials:
        key = (partial.habit, partial.pool)
        if counts.get(key, 0) < beam:
            counts[key] = counts.get(key, 0) + 1
            kept.append(partial)
    return kept
