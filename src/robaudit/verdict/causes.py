"""Why: findings from what the attacks met and from the probes.

The thresholds are here and nowhere else. Those on probes are shares of about 48 examples, so each asks for several
examples more than an honest model showed in the calibration (`docs/results/causes.md`).
"""

from __future__ import annotations

import numpy as np

from robaudit.evidence import Evidence
from robaudit.verdict import table
from robaudit.verdict.findings import Finding, finding

#: Below this many examples the report says that there are few.
FEW_EXAMPLES = 50
#: A share of exactly zero PGD gradients that no honest model of the calibration reached.
ZERO_GRADIENT_SHARE = 0.10
#: With so many zero gradients, though few softmaxes are saturated, the input itself has no derivative.
SHATTERED_SHARE = 0.50
#: Points by which a targeted margin attack may beat APGD on the cross-entropy before it is worth a finding.
IMBALANCE = 0.08
#: Survivors of PGD-10 that a weaker experiment may break.
WEAKER_BREAKS = 0.08
#: Survivors of PGD-10 that more steps may break.
MORE_STEPS_BREAK = 0.10
#: Survivors that PGD in the whole of [0, 1] may leave.
UNBOUNDED_LEAVES = 0.10
#: Robust accuracy must fall by this much from eps to 4 eps, where there is so much to lose.
FALL, TO_LOSE = 0.05, 0.15
#: Robust at a quarter of eps, and little of it left at eps: the standard deviation that images are divided by is near
#: a quarter. Honest models kept at least half.
SMALL_RADIUS, LITTLE_LEFT = 0.30, 1 / 3
#: A surface on which PGD's steps disagree so much (SGCS), and PGD stops so far from a stationary point (FOSC).
RUGGED_SGCS, UNCONVERGED_FOSC = 0.25, 0.60


def causes_of(evidence: Evidence) -> list[Finding]:
    """Findings on evidence in any state, with no verdict in mind."""
    found = []
    lost = sum(int(evidence.unanswered(name).sum()) for name in evidence.attacks)
    if lost:
        message = f"{lost} attacked examples gave no finite, repeatable answer."
        found.append(finding("no-answer-under-attack", message))
    found += _imbalance(evidence)
    # Zero gradients explain whatever the trajectory looks like.
    found += _gradients(evidence) or _trajectory(evidence)
    if evidence.header.probes:
        found += _from_probes(evidence.header.probes)
    if 0 < len(evidence) < FEW_EXAMPLES:
        found.append(finding("few-examples", f"Only {len(evidence)} examples were audited."))
    classes = int(evidence.header.model.get("classes", 4))
    if classes < 4:
        message = f"The targeted DLR loss needs 4 classes; with {classes} the margin stood in."
        found.append(finding("substituted-loss", message))
    return found


def _imbalance(evidence: Evidence) -> list[Finding]:
    if not {"apgd-ce", "apgd-t"} <= set(evidence.attacks):
        return []
    values = table.paired(evidence, "apgd-ce", "apgd-t").values
    if len(values) < FEW_EXAMPLES or values.mean() < IMBALANCE:
        return []
    message = (
        f"APGD on a targeted margin leaves {100 * values.mean():.1f} points less than on the cross-entropy."
    )
    return [finding("imbalanced-gradients", message)]


def _gradients(evidence: Evidence) -> list[Finding]:
    """Exactly zero gradients: because the softmax is saturated, or because there is no derivative."""
    steps = evidence.header.plan.budget.pgd_steps
    zeros = evidence.zero_gradients[np.isfinite(evidence.zero_gradients)]
    share = float(zeros.mean()) / (steps + 1) if len(zeros) else 0.0
    if share < ZERO_GRADIENT_SHARE:
        return []
    saturated = evidence.header.probes.get("saturated")
    message = f"{100 * share:.0f} % of PGD-10's gradients are exactly zero"
    if saturated is None:
        return [finding("vanishing-gradients", f"{message}.")]
    message += f"; the softmax of {100 * saturated:.0f} % of the clean inputs is exactly 1 in float32."
    shattered = share >= SHATTERED_SHARE and saturated < share / 2
    return [finding("shattered-gradients" if shattered else "vanishing-gradients", message)]


def _trajectory(evidence: Evidence) -> list[Finding]:
    """Of the examples that PGD-10 left standing: where it stopped, and whether its steps agreed."""
    found = []
    standing = evidence.survives("pgd10")
    for name, values, code in (
        ("SGCS", evidence.sgcs, "rugged-surface"),
        ("FOSC / (eps |g|)", evidence.fosc_normalised, "pgd-not-converged"),
    ):
        if len(values) != len(standing):
            continue
        kept = values[standing & np.isfinite(values)]
        if len(kept) < FEW_EXAMPLES // 2:
            continue
        mean = float(kept.mean())
        if code == "rugged-surface" and mean < RUGGED_SGCS:
            found.append(
                finding(code, f"PGD-10's steps disagree: {name} is {mean:.2f} where it found nothing.")
            )
        if code == "pgd-not-converged" and mean > UNCONVERGED_FOSC:
            found.append(finding(code, f"PGD-10 stops far from a maximum: {name} is {mean:.2f}."))
    return found


def _from_probes(probes: dict[str, float]) -> list[Finding]:
    """What the small experiments say; a share that is missing says nothing."""
    n = int(probes.get("examples", 0))
    of = f"of {n} examples"
    found = []

    def share(name: str) -> float:
        return probes.get(name, float("nan"))

    if share("only_fgsm") >= WEAKER_BREAKS:
        message = f"A single step breaks {100 * share('only_fgsm'):.0f} % {of} that PGD-10 does not."
        found.append(finding("single-step-beats-iterative", message))
    if share("only_noise") >= WEAKER_BREAKS:
        message = f"Random noise breaks {100 * share('only_noise'):.0f} % {of} that PGD-10 does not."
        found.append(finding("noise-beats-pgd", message))
    if share("only_pgd40") >= MORE_STEPS_BREAK:
        message = f"40 steps break {100 * share('only_pgd40'):.0f} % {of} that 10 do not."
        found.append(finding("more-steps-break", message))
    if share("unbounded") >= UNBOUNDED_LEAVES:
        message = f"PGD without a bound leaves {100 * share('unbounded'):.0f} % {of} standing."
        found.append(finding("unbounded-attack-fails", message))
    if share("pgd10") >= TO_LOSE and share("pgd10") - share("pgd10_x4") < FALL:
        message = (
            f"PGD-10's robust accuracy is {100 * share('pgd10'):.0f} % at eps and "
            f"{100 * share('pgd10_x4'):.0f} % at 4 eps ({of})."
        )
        found.append(finding("flat-in-eps", message))
    if share("pgd10_x0.25") >= SMALL_RADIUS and share("pgd10") <= LITTLE_LEFT * share("pgd10_x0.25"):
        message = (
            f"PGD-10 leaves {100 * share('pgd10_x0.25'):.0f} % {of} at a quarter of eps and "
            f"{100 * share('pgd10'):.0f} % at eps."
        )
        found.append(finding("robust-at-smaller-eps", message))
    return found
