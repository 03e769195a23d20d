"""What an evidence file proves, what it only says, and how much of that stands up to being done again."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from robaudit.attacks import Examples
from robaudit.audit.against_data import (
    all_images,
    answers_of,
    other_data,
    other_predictions,
    stored_images,
)
from robaudit.audit.endings import ended_otherwise
from robaudit.audit.header import expect_model
from robaudit.audit.preflight import preflight
from robaudit.audit.recompute import (
    Pair,
    Recomputation,
    Recompute,
    Stated,
    more_pairs,
    nearer_than,
    recompute,
)
from robaudit.audit.witnesses import failing_witnesses
from robaudit.evidence import SCOUTS, Evidence, EvidenceFile, Header, contradictions, doubtful
from robaudit.fast import Averaged
from robaudit.inputs import Classifier, Images
from robaudit.plan import AUTOATTACK, AuditPlan
from robaudit.verdict.findings import from_dict
from robaudit.verdict.sample_claims import (
    drawn_unbroken,
    odd_candidates,
    short_breaks,
    short_survivals,
    tiers,
)

#: AutoAttack's survivors and candidates that another attack breaks are attacked again, whatever was asked for: so many
#: pairs of them.
DOUBTFUL_PAIRS = 16


@dataclass(frozen=True)
class Verification:
    """What was checked, and what is wrong.

    Attributes:
        witnesses: how many there were; each of those that are not `bad` proves a break.
        bad: of these, those that prove nothing.
        predictions: clean predictions that the strict model repeated.
        examples: audited ones, each of which has a clean prediction.
        with_data: whether the images were at hand: all predictions and all pixels were compared.
        survivors: (example, attack) pairs that the file says were not broken.
        doubtful: AutoAttack's survivors, and candidates of a sample, that another attack breaks, attacked again; None
            where there are none.
        recomputed: a random part of the survivors, attacked again; None where nobody asked for it. Of a sample, of
            AutoAttack's survivors among the examples that were drawn: each of them stands for many.
        waiting: of a sample, a random part of the other survivors, attacked again; likewise: above all PGD-10's, and
            the short attacks' on candidates that were not drawn.
        pgd: a random part of PGD-10's breaks, made again; likewise. A witness proves that an example is not robust, and
            not that PGD-10 found it, which is what a gap is measured from.
        measured: of the breaks of Square, to which a gap is measured, and of an attack that is claimed or estimated.
        short: of a sample, a random part of the short attacks' breaks, made again; likewise. They decide which examples
            the sample was drawn from.
        failures: what is wrong; the first words say with what.

    """

    witnesses: int
    bad: int
    predictions: int
    examples: int
    with_data: bool
    survivors: int
    doubtful: Recomputation | None
    recomputed: Recomputation | None
    waiting: Recomputation | None
    pgd: Recomputation | None
    measured: Recomputation | None
    short: Recomputation | None
    failures: tuple[str, ...]


def judging(classifier: Classifier, plan: AuditPlan) -> nn.Module:
    """What a break must fool: the classifier, or its mean over the draws that are kept for this."""
    if plan.eot == 1:
        return classifier
    return Averaged(classifier, plan.eot, plan.seed, "judge", one_by_one=True)


def verify(
    path: Path,
    classifier: Classifier,
    device: str = "cpu",
    images: Images | None = None,
    again: Recompute | None = None,
) -> Verification:
    """Check everything about an evidence file that can be checked.

    Args:
        path: the file.
        classifier: the model that it is about.
        device: where to compute.
        images: the whole split, as `load_images` gives it for the plan's seed; None where it is not at hand.
        again: how many survivors to attack again; that needs `images`.

    Raises:
        RobauditError: the file is damaged or of another schema, or was made with another model.

    """
    with EvidenceFile.open(path) as file:
        evidence, rows, failures = file.read(), file.witnesses(), contradictions(file)
    header = evidence.header
    expect_model(header, classifier)
    strict = judging(classifier.to(device), header.plan)
    shape = tuple(int(size) for size in header.data["shape"])
    bad, other_classes = failing_witnesses(rows, header.plan.threat, strict, shape, device)
    failures = bad + failures
    clean = stored_images(rows, shape)
    if images is not None:
        problems = other_data(evidence, rows, images)
        failures += problems
        clean = clean if problems else all_images(evidence, images)
    logits = answers_of(strict, clean.x, device)
    failures += other_predictions(evidence, clean, logits)
    if other_classes:
        failures.append(f"{other_classes[0]}, and {len(other_classes) - 1} others likewise")
    if images is not None and not failures:
        failures += _other_findings(header, classifier, strict, images, torch.device(device))
    examples = Examples(clean.x, clean.y, clean.ids, logits)
    pairs, known = _unbroken(evidence), set(clean.ids.tolist())
    odd = set(evidence.ids[doubtful(evidence) | odd_candidates(evidence)].tolist())
    searching = (*header.plan.members, *SCOUTS)
    models = (classifier, strict)

    def attack_again(among: Mapping[Pair, Stated], request: Recompute) -> Recomputation | None:
        return (
            recompute(
                models=models,
                header=header,
                examples=examples,
                among=among,
                request=request,
                device=device,
            )
            if among
            else None
        )

    def those(names: Collection[str], ids: Container[int]) -> dict[Pair, Stated]:
        return {pair: said for pair, said in pairs.items() if pair[0] in names and pair[1] in ids}

    first = second = waiting = pgd = measured = short = None
    if not failures:
        seed = again.seed if again else secrets.randbits(32)
        first = attack_again(those(searching, odd & known), Recompute(DOUBTFUL_PAIRS, seed))
    if again is not None and again.pairs and not failures:
        # What searched with another model cannot be repeated without it.
        own = [name for name in (*header.plan.attacks, *SCOUTS) if name not in header.plan.helpers]
        mine = those(own if again.engine == "robaudit" else AUTOATTACK, known)
        if header.plan.within is None:
            second = attack_again(mine, again)
        else:
            here = set(evidence.ids[drawn_unbroken(evidence)].tolist())
            whole = {
                pair: said
                for pair, said in mine.items()
                if pair[0] in header.plan.members and pair[1] in here
            }
            second = attack_again(whole, again)
            rest = {pair: said for pair, said in mine.items() if pair not in whole}
            waiting = attack_again(rest, more_pairs(again))
        if "pgd10" in own:
            pgd = attack_again(_breaks(evidence, {"pgd10"}), more_pairs(again))
        measured = attack_again(
            _breaks(evidence, _measured(header) & set(own)), replace(again, engine="robaudit")
        )
        # The others contradict the sample.
        explained: dict[Pair, Stated] = {pair: "breaks" for pair in short_breaks(evidence) if pair[0]}
        short = attack_again(explained, more_pairs(again))
        for tier in tiers(evidence):
            failures += nearer_than(models, header, examples, tier, more_pairs(again), device)
    failures += [
        text for part in (first, second, waiting, pgd, measured, short) if part for text in part.failures()
    ]
    failures += ended_otherwise(evidence)
    return Verification(
        witnesses=len(rows),
        bad=len(bad),
        predictions=len(clean.ids),
        examples=len(evidence),
        with_data=len(clean.ids) == len(evidence) and images is not None,
        survivors=len(pairs),
        doubtful=first,
        recomputed=second,
        waiting=waiting,
        pgd=pgd,
        measured=measured,
        short=short,
        failures=tuple(failures),
    )


def _other_findings(
    header: Header, classifier: Classifier, strict: nn.Module, images: Images, device: torch.device
) -> list[str]:
    """Findings of the preflight check that block a verdict, and are not what the file says."""
    part = images.subset(header.plan.limit, header.plan.seed)
    found = preflight(classifier, part, device, strict if isinstance(strict, Averaged) else None)
    here = {item.code for item in found if item.severity == "error"}
    stated = {item.code for item in map(from_dict, header.findings) if item.severity == "error"}
    wrong = [f"findings: {code} is said to be found, and is not" for code in sorted(stated - here)]
    return wrong + [f"findings: {code} is found, and left out" for code in sorted(here - stated)]


def _unbroken(evidence: Evidence) -> dict[Pair, Stated]:
    """Every (attack, example) that the file says was attacked and not broken."""
    found: dict[Pair, Stated] = dict.fromkeys(short_survivals(evidence), "survives")
    for name in evidence.header.plan.attacks:
        found |= {(name, int(key)): "survives" for key in evidence.ids[evidence.survives(name)]}
        found |= {(name, int(key)): "unanswered" for key in evidence.ids[evidence.unanswered(name)]}
    return found


def _measured(header: Header) -> set[str]:
    """The attacks, PGD-10 aside, of whose breaks it matters that just they found them."""
    return {"square", str(header.claim.get("attack")), str(header.plan.estimate)} - {"pgd10"}


def _breaks(evidence: Evidence, names: Collection[str]) -> dict[Pair, Stated]:
    """Every (attack, example) of these attacks that the file says was broken."""
    found: dict[Pair, Stated] = {}
    for name in set(names) & evidence.attacks.keys():
        found |= {(name, int(key)): "breaks" for key in evidence.ids[evidence.broken(name)]}
    return found
