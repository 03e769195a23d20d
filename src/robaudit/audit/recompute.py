"""Attacking again what an evidence file calls survivors: a random part of them, chosen when nobody can prepare for it.

An outcome depends on the seed and the example alone, up to rounding. So one that does not come again is told apart
from rounding by 16 further runs on the same image moved by as little as the recorded arithmetic rounds: a break that
rounding decides comes in some of them, one that was left out of the file in all.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from robaudit.attacks import Examples
from robaudit.attacks.state import take
from robaudit.audit.repeating import ROUNDING, Repeating
from robaudit.engine import on_threads
from robaudit.evidence import SCOUTS, Header, Outcome
from robaudit.inputs import Classifier
from robaudit.plan import AUTOATTACK, title
from robaudit.plan import Engine as EngineName
from robaudit.verdict.sample_claims import Tier

#: (attack, id of the example)
Pair = tuple[str, int]
#: What a file says of one; `unanswered` is that a number was not met, nor a break.
Stated = Literal["survives", "breaks", "unanswered"]
#: Each, what came instead and how that is told.
_SAID: dict[tuple[Stated, str], str] = {
    ("survives", "breaks"): "is said to survive, but the attack breaks it",
    ("breaks", "survives"): "is said to be broken, but the attack does not break it",
    ("unanswered", "breaks"): "is said to have met no number, but the attack breaks it",
    ("unanswered", "survives"): "is said to have met no number, but it survives the attack",
}
#: Of the breaks of PGD-10, and of short attacks, this many times the pairs are made again.
BREAK_PAIRS = 4
#: Of the pairs drawn, the share that rounding may decide, and a number that it always may.
_ROUNDED_SHARE, _ROUNDED_LEAST = 1 / 8, 2
#: Of examples that are said to be further from a break than another, the share that rounding may bring nearer, and a
#: number that it always may.
_NEARER_SHARE, _NEARER_LEAST = 1 / 20, 1
#: Margins are told apart beyond this many units in the last place of the largest logit, in the recorded arithmetic.
_UNITS = 4
#: The probability with which a share of forged survivors would have been found.
CONFIDENCE = 0.99


@dataclass(frozen=True)
class Recompute:
    """How many pairs to attack again, the seed that chooses them, and whose attacks."""

    pairs: int
    seed: int
    engine: EngineName = "robaudit"


@dataclass(frozen=True)
class Repeated:
    """One pair: it `stands` again, `breaks` where the file says that it does not, `survives` where that says that it
    breaks, or is so `close` that rounding, or the reference's luck, decides.
    """

    attack: str
    id: int
    outcome: Literal["stands", "breaks", "survives", "close"]
    stated: Stated = "survives"

    def __str__(self) -> str:
        return f"{title(self.attack)} on example {self.id}"


@dataclass(frozen=True)
class Recomputation:
    """Pairs that were attacked again.

    Attributes:
        pairs: each with what came of it.
        among: how many there were to choose from.
        seed: what chose them.
        engine: whose attacks.
        stronger: the reference, whose budget is the standard one, tried longer than the plan asks for.

    """

    pairs: tuple[Repeated, ...]
    among: int
    seed: int
    engine: EngineName
    stronger: bool = False

    def of(self, outcome: str) -> list[Repeated]:
        """The pairs of one outcome."""
        return [pair for pair in self.pairs if pair.outcome == outcome]

    def failures(self) -> list[str]:
        """What speaks against the file; empty where nothing does.

        The reference draws other random numbers, so a few of its breaks are its luck.
        """
        close = self.of("close")
        most = max(_ROUNDED_LEAST, int(_ROUNDED_SHARE * len(self.pairs)))
        named = [
            f"{pair}: {_SAID[pair.stated, outcome]}"
            for outcome in ("breaks", "survives")
            for pair in self.of(outcome)
        ]
        if len(close) > most and not self.stronger:
            named.append(
                f"{close[0]} and {len(close) - 1} others: do not come out as the file says; chance explains {most}"
            )
        return named

    @property
    def found_share(self) -> float:
        """Had a larger share of the survivors been forged, it would have been found with probability `CONFIDENCE`."""
        if len(self.pairs) == self.among:
            return 0.0
        return 1 - float((1 - CONFIDENCE) ** (1 / len(self.pairs)))


def draw(pairs: Iterable[Pair], request: Recompute) -> list[Pair]:
    """The pairs to attack again, without replacement, each as likely as any other."""
    chosen = random.Random(request.seed)
    every = sorted(pairs)
    return sorted(chosen.sample(every, min(request.pairs, len(every))))


def more_pairs(request: Recompute) -> Recompute:
    """How many breaks of few steps to make again: more, for they cost little."""
    return replace(request, pairs=BREAK_PAIRS * request.pairs, engine="robaudit")


def recompute(
    models: tuple[Classifier, nn.Module],
    header: Header,
    examples: Examples,
    among: Mapping[Pair, Stated],
    request: Recompute,
    device: str,
) -> Recomputation:
    """Attack a random part of some pairs as the recorded plan says, in float32.

    Args:
        models: the classifier, and what judges (`verify.judging`).
        header: of the evidence.
        examples: clean images that hold those of the pairs, on the CPU.
        among: at least one pair, and what the file says of it.
        request: how many to draw, by which seed, and whose attacks to use.
        device: where to compute.

    """
    pairs = draw(among, request)
    session = Repeating(models, header, examples, torch.device(device))
    place = {int(key): row for row, key in enumerate(examples.ids.tolist())}
    found = []
    with on_threads(session.threads):
        for name, stated in sorted({(pair[0], among[pair]) for pair in pairs}):
            ids = [key for attack, key in pairs if attack == name and among[attack, key] == stated]
            rows = torch.tensor([place[key] for key in ids])
            theirs = name in AUTOATTACK and "reference" in (request.engine, header.plan.engine)
            outcomes = session.outcomes(name, take(examples, rows), reference=theirs)
            stands = _stands(name, stated, outcomes)
            for key, row, outcome, good in zip(ids, rows.tolist(), outcomes, stands.tolist(), strict=True):
                # The reference's draws cannot be repeated one example at a time.
                if good or theirs:
                    found.append(Repeated(name, key, "stands" if good else "close", stated))
                    continue
                moved = session.outcomes_of_moved(name, row)
                sure = not _stands(name, stated, moved).any()
                if (
                    stated == "unanswered"
                ):  # nor is a break that did not come again, which is recorded as that
                    # What overflows in half precision need not in single.
                    sure = bool((moved == outcome).all()) and header.precision != "fp16"
                broke = stated == "survives" or (stated == "unanswered" and int(outcome) == Outcome.BROKEN)
                other: Literal["breaks", "survives"] = "breaks" if broke else "survives"
                found.append(Repeated(name, key, other if sure else "close", stated))
    engine: EngineName = "reference" if header.plan.engine == "reference" else request.engine
    reduced = bool(header.plan.reduced(int(header.data["classes"])))
    stronger = engine == "reference" and header.plan.engine != "reference" and reduced
    return Recomputation(tuple(found), len(among), request.seed, engine, stronger)


def _stands(name: str, stated: Stated, outcomes: Tensor) -> Tensor:
    """(n,) bool: whether the outcomes of an attack are what the file says; a beginning that meets no number goes on."""
    if stated == "unanswered":
        return outcomes == int(Outcome.NONFINITE)
    left = [int(Outcome.ROBUST)] + [int(Outcome.NONFINITE)] * (name in SCOUTS)
    unbroken = torch.isin(outcomes, torch.tensor(left))
    return unbroken if stated == "survives" else ~unbroken


def nearer_than(
    models: tuple[Classifier, nn.Module],
    header: Header,
    examples: Examples,
    tier: Tier,
    request: Recompute,
    device: str,
) -> list[str]:
    """Examples that are said to have been among the nearest to a break, though others are nearer; as sentences.

    Args:
        models: as of `recompute`, like all but `tier`.
        header: of the evidence.
        examples: clean images.
        tier: what was taken out for being near, and what was further.
        request: how many of each to draw, and by which seed.
        device: where to compute.

    """
    chosen = random.Random(request.seed)
    near, others = (
        sorted(chosen.sample(sorted(ids), min(request.pairs, len(ids)))) for ids in (tier.taken, tier.others)
    )
    if not near or not others:
        return []
    session = Repeating(models, header, examples, torch.device(device))
    place = {int(key): row for row, key in enumerate(examples.ids.tolist())}
    both = near + others
    here = take(examples, torch.tensor([place[key] for key in both]))
    margins, beyond = torch.full((len(both),), float("-inf")), torch.full((len(near),), len(others))
    with on_threads(session.threads):
        apart = _UNITS * ROUNDING.get(header.precision, ROUNDING["fp32"]) * session.largest_logit(here)
        for name, ids in tier.met.items():
            # An example was ranked by the margins of the beginnings that were made on it.
            rows = torch.tensor([row for row, key in enumerate(both) if key in ids], dtype=torch.int64)
            if len(rows):
                margins[rows] = torch.maximum(margins[rows], session.margins(name, take(here, rows)))
            if name in tier.ranked_after:
                nearer = (margins[None, len(near) :] > margins[: len(near), None] + apart).sum(1)
                beyond = torch.minimum(beyond, nearer)
    most = max(_NEARER_LEAST, int(_NEARER_SHARE * len(others)))
    return [
        f"sample: example {key} is said to have been among the nearest to a break, and {count} of {len(others)} that "
        "were not are nearer"
        for key, count in zip(near, beyond.tolist(), strict=True)
        if count > most
    ]
