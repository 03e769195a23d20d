"""Measure what the statistics promise: error rates, coverage and how many examples a decision needs.

    python benchmarks/coverage.py > docs/results/coverage.md

Prints Markdown. One core, a few minutes, seeded: the same tables every time. `--quick` does a tenth of
the repetitions.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator

import numpy as np
from scipy.special import gammaln, xlogy

from robaudit.stats import (
    LOWER_PART,
    PROPORTION_STAKES,
    SURVIVAL_STAKES,
    gap_sequence,
    paired_gap,
    proportion,
    proportion_sequence,
    sampled_share,
)
from robaudit.stats.betting import first_refuted, stakes
from robaudit.stats.decision import side
from robaudit.stats.interval import Floats, Integers

BOUND = 0.08
CONFIDENCE = 0.99
#: Orders in which plain sampling from all examples is simulated, which takes long.
PLAIN = 20
#: A population this large is not audited to the end; the limit is what `--limit` would be.
LIMIT = 3000


def population(gap: float, ties: float, total: int) -> Integers:
    """(total,) values whose mean is `gap` to the nearest example and whose share of zeros is about `ties`."""
    net = round(gap * total)
    pairs = max(0, round((1.0 - ties) * total) - abs(net)) // 2
    ups, downs = pairs + max(net, 0), pairs + max(-net, 0)
    return np.repeat(np.array([1, -1, 0]), [ups, downs, total - ups - downs])


def decide_early(values: Integers, total: int, confidence: float) -> tuple[str, int]:
    """`side`, the decision without its limits, on growing beginnings: the same answer, sooner."""
    kind, after = "undecided", 0
    for upto in (128, 1024, values.size):
        kind, after = side(values[:upto], total, BOUND, confidence)
        if kind != "undecided":
            break
    return kind, after


def row(*cells: object) -> None:
    """A line of a Markdown table, printed at once."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def header(*cells: str) -> None:
    print()
    row(*cells)
    row(*["---"] * len(cells))


def percent(count: int, of: int) -> str:
    """A rate with its own 95 % Clopper-Pearson interval, in per cent."""
    rate = proportion(count, of, 0.95)
    return f"{100 * rate.value:.2f} [{100 * rate.low:.2f}, {100 * rate.high:.2f}]"


def decision_row(
    rng: np.random.Generator, gap: float, ties: float, total: int, setup: tuple[float, int]
) -> bool:
    """Simulate one truth, print it; whether its error rate is compatible with 1 - confidence."""
    confidence, runs = setup
    values = population(gap, ties, total)
    truth = "above" if values.sum() >= round(BOUND * total) else "below"
    results = [decide_early(rng.permutation(values)[:LIMIT], total, confidence) for _ in range(runs)]
    wrong = sum(kind not in (truth, "undecided") for kind, _ in results)
    undecided = sum(kind == "undecided" for kind, _ in results)
    needed = np.array([after for _, after in results])
    row(
        total,
        f"{values.mean():+.4f}",
        f"{np.mean(values != 0):.2f}",
        truth,
        percent(wrong, runs),
        f"{100 * undecided / runs:.0f}",
        f"{np.median(needed):.0f}",
        f"{np.quantile(needed, 0.9):.0f}",
    )
    return proportion(wrong, runs, 0.999).low <= 1.0 - confidence


def decisions(rng: np.random.Generator, runs: int) -> bool:
    """Error rate and cost of the decision at confidence 0.99 over the true gaps."""
    print(f"\n## The sequential decision: gap against the bound {BOUND}, confidence {CONFIDENCE}\n")
    print(
        f"{runs} random orders each; {4 * runs} at the bound and one example below it, where the error is largest. "
        f"For total = 10000 these are {runs * 3 // 2}, and {runs // 4} where the gap is within 0.04 of the bound; it "
        f"is audited up to {LIMIT} examples, a smaller population to its end. `wrong` has its own "
        "95 % interval and must be at most 1 %. `examples` counts undecided audits at their last example."
    )
    columns = ("total", "true gap", "discordant", "truth", "wrong, %", "undecided, %")
    header(*columns, "examples, median", "90 % quantile")
    holds = True
    for total in (200, 1000, 10_000):
        gaps = (-0.3, 0.0, 0.04, 0.06, BOUND - 1 / total, BOUND, BOUND + 0.02, 0.12, 0.2, 0.3, 0.5)
        for gap, ties in itertools.product(gaps, (1.0, 0.9, 0.6)):
            if ties < 1.0 and abs(gap) > 1.0 - ties:
                continue  # there are more discordant pairs than that already
            large = total == 10_000
            repeat = runs
            if abs(gap - BOUND) * total <= 1.01:
                repeat = runs * 3 // 2 if large else runs * 4  # where the error is largest
            elif large and abs(gap - BOUND) <= 0.045:
                repeat = runs // 4  # slow
            holds &= decision_row(rng, gap, ties, total, (CONFIDENCE, repeat))
    return holds


def hardest(rng: np.random.Generator, runs: int) -> bool:
    """The error at and just below the bound with a confidence low enough to see it."""
    print("\n## The hardest truths at confidence 0.9\n")
    print("Exactly at the bound and one example below it, where an error rate of up to 10 % is allowed.")
    columns = ("total", "true gap", "discordant", "truth", "wrong, %", "undecided, %")
    header(*columns, "examples, median", "90 % quantile")
    holds = True
    for total, short, ties in itertools.product((200, 1000), (0, 1), (1.0, 0.9, 0.6, 0.0)):
        holds &= decision_row(rng, BOUND - short / total, ties, total, (0.9, runs))
    return holds


def trinomial(n: int, share: float, gap: float) -> tuple[Integers, Integers, Floats]:
    """The outcomes (plus, minus) whose probabilities matter, and these probabilities, which add up to about 1."""
    plus, minus = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    inside = plus + minus <= n
    plus, minus = plus[inside], minus[inside]
    ties = n - plus - minus
    up, down, tie = (max(0.0, chance) for chance in ((share + gap) / 2, (share - gap) / 2, 1.0 - share))
    logs = gammaln(n + 1) - gammaln(plus + 1) - gammaln(minus + 1) - gammaln(ties + 1)
    chances = np.exp(logs + xlogy(plus, up) + xlogy(minus, down) + xlogy(ties, tie))
    likely = chances > 1e-9
    return plus[likely], minus[likely], chances[likely]


def fixed_coverage(quick: bool) -> bool:
    """Exact coverage of the fixed-size intervals, by enumeration."""
    print("\n## Fixed-size intervals: coverage by enumeration\n")
    print(
        "Probability that the interval holds the truth, summed over every outcome of probability above 1e-9: the "
        "lowest and the mean over a grid of true values. Width is the mean over the same grid."
    )
    header("interval", "n", "confidence", "true values", "lowest coverage, %", "mean, %", "mean width")
    holds = True
    for n, confidence in itertools.product((20, 100, 1000), (0.95, 0.99)):
        cells = [proportion(k, n, confidence) for k in range(n + 1)]
        low, high = np.array([c.low for c in cells]), np.array([c.high for c in cells])
        k, truths = np.arange(n + 1), np.linspace(0.0, 1.0, 1001)
        choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        chances = [np.exp(choose + xlogy(k, p) + xlogy(n - k, 1 - p)) for p in truths]
        covered = [c[(low <= p) & (p <= high)].sum() for c, p in zip(chances, truths, strict=True)]
        widths = [(c * (high - low)).sum() for c in chances]
        holds &= report_coverage("proportion", (n, confidence), covered, widths)
    for n, confidence in itertools.product((20, 50) if not quick else (20,), (0.95, 0.99)):
        shares = np.concatenate([np.linspace(0.005, 0.1, 20), np.linspace(0.12, 1.0, 45)])
        holds &= gap_coverage(n, confidence, itertools.product(shares, np.linspace(0.0, 1.0, 21)))
    for n, share in ((200, 0.02), (200, 0.1), (1000, 0.02)) if not quick else ():
        holds &= gap_coverage(n, 0.99, itertools.product([share], np.linspace(0.0, 1.0, 5)))
    return holds


def gap_coverage(n: int, confidence: float, truths: Iterator[tuple[float, float]]) -> bool:
    """Coverage of `paired_gap` at true (share of discordant pairs, gap over that share)."""
    limits: dict[tuple[int, int], tuple[float, float]] = {}
    covered, widths = [], []
    for share, lean in truths:
        plus, minus, chances = trinomial(n, share, share * lean)
        pairs = list(zip(plus.tolist(), minus.tolist(), strict=True))
        for pair in pairs:
            if pair not in limits:
                interval = paired_gap(*pair, n, confidence)
                limits[pair] = interval.low, interval.high
                limits[pair[::-1]] = -interval.high, -interval.low
        low, high = np.array([limits[pair] for pair in pairs]).T
        gap = share * lean
        covered.append(float(chances[(low <= gap + 1e-9) & (gap - 1e-9 <= high)].sum()))
        widths.append(float((chances * (high - low)).sum()))
    return report_coverage("paired_gap", (n, confidence), covered, widths)


def report_coverage(name: str, setup: tuple[int, float], covered: list[float], widths: list[float]) -> bool:
    n, confidence = setup
    lowest, mean = 100 * min(covered), 100 * float(np.mean(covered))
    row(name, n, confidence, len(covered), f"{lowest:.2f}", f"{mean:.2f}", f"{np.mean(widths):.4f}")
    return min(covered) >= confidence - 1e-6


def sequence_coverage(rng: np.random.Generator, runs: int) -> bool:
    """How often a sequence has ever lost the truth by the time of the last look."""
    print("\n## Confidence sequences: how often the truth was ever excluded\n")
    print(
        f"{runs} random orders each of a population, watched after every example up to `examples`, at confidence "
        "0.95 so that errors can be seen: they must be at most 5 %. Widths are those at the end; `fixed` is "
        "the width of the fixed-size interval, which may be looked at once."
    )
    header("sequence", "total", "examples", "mean", "discordant", "ever wrong, %", "width", "fixed")
    holds = True
    cases = [(200, 150), (1000, 400), (10_000, 400)]
    for (total, size), share in itertools.product(cases, (0.02, 0.3, 0.5)):
        values = population(share, 1.0, total)
        holds &= sequence_row("proportion", values, size, (rng, runs))
    for (total, size), (gap, ties) in itertools.product(cases, ((0.0, 0.98), (0.08, 0.9), (0.3, 0.6))):
        values = population(gap, ties, total)
        holds &= sequence_row("gap", values, size, (rng, runs))
    return holds


def sequence_row(
    name: str,
    values: Integers,
    size: int,
    sampling: tuple[np.random.Generator, int],
) -> bool:
    rng, runs = sampling
    sequence = proportion_sequence if name == "proportion" else gap_sequence
    wrong, widths, fixed = 0, [], []
    for run in range(runs):
        seen = rng.permutation(values)[:size]
        got = sequence(seen, values.size, 0.95)
        wrong += not got.low - 1e-12 <= values.mean() <= got.high + 1e-12
        widths.append(got.high - got.low)
        if run < 20:
            plus, minus = int((seen == 1).sum()), int((seen == -1).sum())
            once = (
                proportion(plus, size, 0.95) if name == "proportion" else paired_gap(plus, minus, size, 0.95)
            )
            fixed.append(once.high - once.low)
    shares = f"{values.mean():.2f}", f"{np.mean(values != 0):.2f}"
    row(
        name,
        values.size,
        size,
        *shares,
        percent(wrong, runs),
        f"{np.mean(widths):.4f}",
        f"{np.mean(fixed):.4f}",
    )
    return proportion(wrong, runs, 0.999).low <= 0.05


def sampled_row(
    rng: np.random.Generator, total: int, shares: tuple[float, float, float], setup: tuple[float, float, int]
) -> bool:
    """Simulate one truth of `--within`, print it; whether its errors are as few as promised."""
    (survivors, breakable, found), (within, confidence, runs) = shares, setup
    robust, breaks = round(survivors * total), round(breakable * total)
    left = round((1 - found) * breaks)
    values = np.repeat(np.array([1, 0]), [robust, left])
    plain = np.repeat(np.array([1, 0]), [robust, total - robust])
    wrong, draws, without = 0, [], []
    for run in range(runs):
        missed, needed = draws_needed(rng.permutation(values), total, within, confidence)
        wrong += missed
        draws.append(needed)
        if run < PLAIN:
            usual = PROPORTION_STAKES, LOWER_PART
            without.append(draws_needed(rng.permutation(plain), total, within, confidence, usual)[1])
    row(
        total, f"{100 * survivors:.0f}", values.size, left, f"± {100 * within:g}", percent(wrong, runs),
        f"{np.median(draws):.0f}", f"{np.median(without):.0f}",
    )  # fmt: skip
    return proportion(wrong, runs, 0.999).low <= 1.0 - confidence


def draws_needed(
    order: Integers,
    total: int,
    within: float,
    confidence: float,
    lower: tuple[Floats, float] = (SURVIVAL_STAKES, LOWER_PART),
) -> tuple[bool, int]:
    """Whether the interval ever missed the truth until it was narrow enough, and after how many draws that was.

    `lower` are the stakes of the lower limit, and the part of the error that it spends.
    """
    truth, t, missed = float(order.sum()), 0, False
    bets, part = lower
    while True:
        found = sampled_share(
            order[:t], order[:t], order.size, total, confidence, spent=(part, 1 - part), lower=bets
        )
        missed |= not found.low * total - 1e-6 <= truth <= found.high * total + 1e-6
        if found.high - found.low <= 2 * within + 1e-9:
            return missed, t
        t = min(order.size, t + max(16, t // 8))


def sampling(rng: np.random.Generator, runs: int) -> bool:
    """What `--within` promises, and how many whole attacks it takes beside sampling from all examples."""
    print("\n## AutoAttack's number from a sample of the candidates\n")
    print(
        f"`--within`: of `total` examples some survive and some would break under a whole attack only. Short attacks "
        "find a part of the breaks beforehand; the others stay among the candidates, which are drawn at random until "
        f"the interval is narrow enough. {runs} orders each, first with short attacks that find nearly all, last with "
        "such as find nothing. `draws`: whole attacks, medians; `plain`: if they were drawn from all examples."
    )
    header("total", "survive, %", "candidates", "of these break", "within", "missed, %", "draws", "plain")
    holds = True
    for found, total, within in itertools.product((0.98, 0.8, 0.0), (1000, 10_000), (0.01, 0.005)):
        for survivors in (0.17, 0.5):
            confidence = 0.99
            holds &= sampled_row(rng, total, (survivors, 0.05, found), (within, confidence, runs))
    print("\nThe same at confidence 0.9, where misses are many enough to be counted.")
    header("total", "survive, %", "candidates", "of these break", "within", "missed, %", "draws", "plain")
    for found, survivors in itertools.product((0.98, 0.5, 0.0), (0.17, 0.5)):
        holds &= sampled_row(rng, 1000, (survivors, 0.05, found), (0.02, 0.9, 4 * runs))
    return holds


def lower_limits(rng: np.random.Generator, runs: int) -> None:
    """Draws needed under other stakes of the lower limit, and other parts of the error, than those in use."""
    print("\n## What the lower limit of a sample bets, and what part of the error it spends\n")
    print(
        f"Draws until the interval for 10,000 examples is narrow enough at confidence 0.99, means over the same {runs} "
        "orders; the error rate holds under each. Jeffreys' stakes are those for any proportion. In use: three "
        f"quarters Beta(3, 0.5) and a quarter Jeffreys, {LOWER_PART:g} of the error."
    )
    bold, usual, in_use = stakes(3.0, 0.5), PROPORTION_STAKES, SURVIVAL_STAKES
    others: dict[str, tuple[Floats, float]] = {
        "Jeffreys, 0.5": (usual, 0.5), f"Jeffreys, {LOWER_PART:g}": (usual, LOWER_PART),
        f"Beta(3, 0.5), {LOWER_PART:g}": (bold, LOWER_PART), "in use": (in_use, LOWER_PART),
        "in use, but 0.7": (in_use, 0.7), "in use, but 0.95": (in_use, 0.95),
    }  # fmt: skip
    header("candidates", "of these break", "within", *others)
    truths = [(1800, 0, 1.0), (1800, 5, 0.5), (5400, 10, 0.5), (9300, 25, 1.0), (9300, 65, 1.0)]
    truths += [(1800, 200, 1.0), (5400, 500, 1.0), (8000, 4000, 2.0), (9300, 25, 0.5)]
    for count, breaks, points in truths:
        values = np.repeat(np.array([1, 0]), [count - breaks, breaks])
        orders = [rng.permutation(values) for _ in range(runs)]
        cells = [
            f"{np.mean([draws_needed(order, 10_000, points / 100, 0.99, other)[1] for order in orders]):.0f}"
            for other in others.values()
        ]
        row(count, breaks, f"± {points:g}", *cells)


def spreads(rng: np.random.Generator, runs: int) -> None:
    """Examples needed under other spreads of the capital than the one in use."""
    print("\n## How the capital is spread over the bets\n")
    print(
        f"Median / 90 % quantile of the examples needed against the bound {BOUND} with the bets spread as "
        f"Beta(a, b), over {runs} independent samples; the error rate holds under every spread. In use for gaps: "
        "Beta(1, 0.5)."
    )
    candidates = [(1.0, 0.5), (0.5, 0.5), (0.7, 0.35), (1.0, 1.0), (1.0, 0.25)]
    header("P(+1)", "P(-1)", *[f"Beta({a:g}, {b:g})" for a, b in candidates])
    truths = [(0.3, 0.0), (0.35, 0.05), (0.5, 0.0), (0.0, 0.0), (0.01, 0.01), (0.03, 0.03), (0.05, 0.35)]
    for up, down in [*truths, (0.15, 0.03), (0.04, 0.0)]:
        samples = rng.choice(np.array([1, -1, 0]), p=[up, down, 1.0 - up - down], size=(runs, 2000))
        sign = 1 if up - down >= BOUND else -1
        levels, null = 1 + sign * samples, np.array([1.0 + sign * BOUND])
        cells = []
        for a, b in candidates:
            needed = [first_refuted(level, null, None, 0.01, stakes(a, b))[0] for level in levels]
            cells.append(f"{np.median(needed):.0f} / {np.quantile(needed, 0.9):.0f}")
        row(f"{up:.2f}", f"{down:.2f}", *cells)


def main() -> int:
    """Print every table; 1 when a guarantee does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the repetitions")
    quick = parser.parse_args().quick
    rng, started = np.random.default_rng(20240607), time.process_time()
    print("# Coverage, error rates and examples needed")
    print(
        "\nMade by `python benchmarks/coverage.py > docs/results/coverage.md`; what the numbers mean is said in"
    )
    print("[statistics.md](../statistics.md).")
    scale = 10 if quick else 1
    holds = [
        decisions(rng, 1000 // scale),
        hardest(rng, 1000 // scale),
        fixed_coverage(quick),
        sequence_coverage(rng, 400 // scale),
        sampling(rng, 60 // scale),
    ]
    spreads(rng, 200 // scale)
    lower_limits(rng, 20 // scale)
    verdict = "Every guarantee above holds." if all(holds) else "A GUARANTEE ABOVE DOES NOT HOLD."
    print(f"\n{verdict} {time.process_time() - started:.0f} CPU seconds, on one core.")
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
