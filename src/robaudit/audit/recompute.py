"""Attacking again what an evidence file calls survivors: a random part of them, chosen when nobody can prepare for it.

An outcome depends on the seed and the example alone, up to rounding. So one that does not come again is told apart
from rounding by 16 further runs on the same image moved by as little as the recorded arithmetic rounds: a break that
rounding decides comes in some of them, one that was left out of the file in all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from robaudit.attacks import ATTACKS, Attack, Examples, Retired, forward
from robaudit.attacks.randomness import Draws
from robaudit.attacks.state import take
from robaudit.audit.beginnings import beginning_of
from robaudit.audit.reference import run_reference
from robaudit.audit.witnesses import batch_of
from robaudit.devices import in_parts
from robaudit.engine import Engine, on_threads, tune
from robaudit.evidence import SCOUT_TARGETED, SCOUT_WIDE, SCOUTS, Header, Outcome
from robaudit.fast import Averaged, SearchModel, before_softmax, search_model, strict_arithmetic
from robaudit.inputs import Classifier
from robaudit.plan import AUTOATTACK, title
from robaudit.plan import Engine as EngineName
from robaudit.verdict.sampling import CHOSEN

#: (attack, id of the example)
Pair = tuple[str, int]
#: Further runs of a pair that did not come out as recorded.
_RUNS = 16
#: How far the image is moved in them, by what attacks are said to have searched in: a few units in the last place.
_ROUNDING = {"fp32": 2.0**-22, "tf32": 2.0**-11, "fp16": 2.0**-11, "bf16": 2.0**-9}
#: Of the breaks of PGD-10, and of short attacks, this many times the pairs are made again.
BREAK_PAIRS = 4
#: Of the pairs drawn, the share that rounding may decide, and a number that it always may.
_ROUNDED_SHARE, _ROUNDED_LEAST = 1 / 8, 2
#: Of examples that are said to be further from a break than another, the share that rounding may bring nearer, and a
#: number that it always may.
_NEARER_SHARE, _NEARER_LEAST = 1 / 20, 1
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
    """One pair: it `stands` again, `breaks` where the file says that it survives, `survives` where that says that it
    breaks, or is so `close` that rounding, or the reference's luck, decides.
    """

    attack: str
    id: int
    outcome: Literal["stands", "breaks", "survives", "close"]

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
        named = [f"{pair}: is said to survive, but the attack breaks it" for pair in self.of("breaks")]
        named += [
            f"{pair}: is said to be broken, but the attack does not break it" for pair in self.of("survives")
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


def draw(pairs: list[Pair], request: Recompute) -> list[Pair]:
    """The pairs to attack again, without replacement, each as likely as any other."""
    chosen = random.Random(request.seed)
    return sorted(chosen.sample(sorted(pairs), min(request.pairs, len(pairs))))


def more_pairs(request: Recompute) -> Recompute:
    """How many breaks of few steps to make again: more, for they cost little."""
    return replace(request, pairs=BREAK_PAIRS * request.pairs, engine="robaudit")


def recompute(
    models: tuple[Classifier, nn.Module],
    header: Header,
    examples: Examples,
    among: list[Pair],
    request: Recompute,
    device: str,
    stated: Literal["survive", "break"],
) -> Recomputation:
    """Attack a random part of some pairs as the recorded plan says, in float32.

    Args:
        models: the classifier, and what judges (`verify.judging`).
        header: of the evidence.
        examples: clean images that hold those of the pairs, on the CPU.
        among: at least one pair.
        request: how many to draw, by which seed, and whose attacks to use.
        device: where to compute.
        stated: what the file says of them.

    """
    pairs = draw(among, request)
    session = _RecomputeSession(models, header, examples, torch.device(device))
    place = {int(key): row for row, key in enumerate(examples.ids.tolist())}
    found = []
    with on_threads(session.threads):
        for name in sorted({attack for attack, _ in pairs}):
            ids = [key for attack, key in pairs if attack == name]
            rows = torch.tensor([place[key] for key in ids])
            theirs = name in AUTOATTACK and "reference" in (request.engine, header.plan.engine)
            broken = session.breaks(name, take(examples, rows), reference=theirs)
            for key, row, lost in zip(ids, rows.tolist(), broken.tolist(), strict=True):
                if lost == (stated == "break"):
                    found.append(Repeated(name, key, "stands"))
                    continue
                # The reference's draws cannot be repeated one example at a time.
                sure = not theirs and session.always(name, row, lost)
                other: Literal["breaks", "survives"] = "breaks" if lost else "survives"
                found.append(Repeated(name, key, other if sure else "close"))
    engine: EngineName = "reference" if header.plan.engine == "reference" else request.engine
    stronger = engine == "reference" and bool(header.plan.reduced(int(header.data["classes"])))
    return Recomputation(tuple(found), len(among), request.seed, engine, stronger)


def nearer_than(
    models: tuple[Classifier, nn.Module],
    header: Header,
    examples: Examples,
    groups: tuple[list[int], list[int]],
    request: Recompute,
    device: str,
) -> list[str]:
    """Examples that are said to have been among the nearest to a break, though others are nearer; as sentences.

    Args:
        models: as of `recompute`, like all but `groups`.
        header: of the evidence.
        examples: clean images.
        groups: ids of examples that are said to be nearer, and of others.
        request: how many of each to draw, and by which seed.
        device: where to compute.

    """
    chosen = random.Random(request.seed)
    near, others = (sorted(chosen.sample(sorted(ids), min(request.pairs, len(ids)))) for ids in groups)
    if not near or not others:
        return []
    session = _RecomputeSession(models, header, examples, torch.device(device))
    place = {int(key): row for row, key in enumerate(examples.ids.tolist())}
    with on_threads(session.threads):
        margins = session.margins(take(examples, torch.tensor([place[key] for key in near + others])))
    beyond = (margins[None, len(near) :] > margins[: len(near), None]).sum(1)
    most = max(_NEARER_LEAST, int(_NEARER_SHARE * len(others)))
    return [
        f"sample: example {key} is said to have been among the nearest to a break, and {count} of {len(others)} that "
        "were not are nearer"
        for key, count in zip(near, beyond.tolist(), strict=True)
        if count > most
    ]


class _RecomputeSession:
    """The model in the form that attacks search with, in float32, and its attacks."""

    def __init__(
        self, models: tuple[Classifier, nn.Module], header: Header, examples: Examples, device: torch.device
    ) -> None:
        classifier, self.strict = models
        self.header, self.plan, self.examples, self.device = header, header.plan, examples, device
        source = (
            Averaged(classifier, self.plan.eot, self.plan.seed, "search") if self.plan.eot > 1 else classifier
        )
        sample = examples.x[:8].to(device)
        self.whole = search_model(source, device, "fp32", sample)
        bare = before_softmax(classifier, sample) if self.plan.eot == 1 else None
        self.search = search_model(bare[0], device, "fp32", sample) if bare else self.whole
        self.tuning = tune(self.search, sample[:1], side_by_side=self.search.traced)
        self.threads = self.tuning.threads

    def breaks(self, name: str, examples: Examples, *, reference: bool = False) -> Tensor:
        """(n,) bool: which of the examples the attack breaks."""
        broken = torch.zeros(len(examples), dtype=torch.bool)

        def retire(retired: Retired) -> None:
            broken[retired.rows] = retired.outcome != int(Outcome.ROBUST)

        if reference:
            run_reference(name, self.plan, self.strict, examples, self.device, retire)
        else:
            self._run(name, examples, retire)
        return broken

    def margins(self, examples: Examples) -> Tensor:
        """(n,) the largest that each meets in the beginnings of APGD-T that every candidate got."""
        met = torch.full((len(examples),), float("-inf"))

        def retire(retired: Retired) -> None:
            met[retired.rows] = torch.maximum(met[retired.rows], retired.closest)

        for name in (SCOUT_TARGETED, SCOUT_WIDE):
            if name == SCOUT_TARGETED or self.header.early_stopping.get(CHOSEN[name]):
                self._run(name, examples, retire)
        return met

    def _run(self, name: str, examples: Examples, retire: Callable[[Retired], None]) -> None:
        tuned = self.tuning
        search = self.whole if name == "pgd10" else self.search  # as `Session` chooses
        if search is not self.whole:
            examples = replace(examples, logits=self._logits(search, examples.x))
        engine = Engine(
            search=search,
            strict=self.strict,
            threat=self.plan.threat,
            slots=tuned.slots,
            device=self.device,
            workers=tuned.workers,
            least=tuned.least,
        )
        engine.run(self._attack(name), examples, retire)

    def _attack(self, name: str) -> Attack:
        if name not in SCOUTS:
            return ATTACKS[name](self.plan)
        return beginning_of(name, self.plan).of(SCOUTS[name], self.plan)

    def _logits(self, search: SearchModel, x: Tensor) -> Tensor:
        def answers(part: Tensor) -> Tensor:
            with strict_arithmetic():
                return forward(search, x[part].to(self.device)).cpu()

        return torch.cat(in_parts(answers, torch.arange(len(x)), batch_of(x.shape[1:])))

    def always(self, name: str, row: int, lost: bool) -> bool:
        """Whether the attack breaks the example, or does not, in every one of `_RUNS` runs that differ by rounding."""
        copies = take(self.examples, torch.full((_RUNS,), row))
        size = copies.x[0].numel()
        signs = Draws(self.plan.seed, "rounding").signs(torch.arange(_RUNS), 0, size).reshape(copies.x.shape)
        moved = (copies.x + _ROUNDING.get(self.header.precision, _ROUNDING["fp32"]) * signs).clamp(0, 1)
        broken = self.breaks(name, Examples(moved, copies.y, copies.ids, copies.logits))
        return bool((broken == lost).all())
