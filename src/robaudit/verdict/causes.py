"""Why: findings from what the attacks met and from the probes.

The thresholds are here and nowhere else. Those on probes are shares of about 48 examples, so each asks for several
examples more than an honest model showed in the calibration (`docs/results/causes.md`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence import Evidence
from robaudit.plan import Budget
from robaudit.verdict import table
from robaudit.verdict.attack_failure import failure_sentence
from robaudit.verdict.findings import Finding, finding
from robaudit.wording import examples

#: Below this many examples the report says that there are few.
FEW_EXAMPLES = 50
#: Fewer probed examples are not a share of anything.
FEWEST_PROBED = 20
#: Points by which Square may leave more than PGD-10 before it is said that its budget was too small to tell, and by
#: this many examples.
WEAK_GAP, WEAK_EXAMPLES = 0.08, 6
#: A share of exactly zero PGD gradients that no honest model of the calibration reached.
ZERO_GRADIENT_SHARE = 0.10
#: With this share of zero gradients, though few softmaxes are saturated, the input itself has no derivative.
SHATTERED_SHARE = 0.50
#: Points by which a targeted margin attack may beat APGD on the cross-entropy before it is worth a finding.
IMBALANCE_GAP = 0.08
#: And by this many examples: of the 50 that an audit which stopped early runs both on, an honest model that loses 4 to
#: 5 points in truth loses 6 once in 25 to 70 times (binomial).
IMBALANCED_EXAMPLES = 6
#: Survivors of PGD-10 that a weaker experiment may break.
WEAKER_BREAKS_SHARE = 0.08
#: Survivors of PGD-10 that more steps may break.
MORE_STEPS_BREAK_SHARE = 0.10
#: Survivors that PGD in the whole of [0, 1] may leave.
UNBOUNDED_LEAVES_SHARE = 0.10
#: Robust accuracy must fall by this much from eps to 4 eps, where there is so much to lose.
SMALLEST_FALL, ACCURACY_TO_LOSE = 0.05, 0.15
#: Robust at a quarter of eps, and little of it left at eps: the standard deviation that images are divided by is near
#: a quarter. Honest models kept at least half.
SMALL_RADIUS_ACCURACY, LITTLE_LEFT_SHARE = 0.30, 1 / 3
#: Robust in the other norm's ball though not in this one, and no less there than at a quarter of eps but for a fifth:
#: a network trained at a smaller radius of the same norm loses more.
OTHER_NORM_ACCURACY, OF_SMALL_RADIUS_SHARE = 0.30, 0.80
#: A surface on which PGD's steps disagree so much (SGCS), and PGD stops so far from a stationary point (FOSC).
RUGGED_SGCS, UNCONVERGED_FOSC = 0.25, 0.60
#: The loss leaves its tangent plane by so much within the ball, in units of log K, on examples that PGD-10 leaves
#: standing.
NONLINEARITY = 0.25
#: Findings whose advice is a margin loss.
_MARGIN_ADVISED = (
    "imbalanced-gradients",
    "vanishing-gradients",
    "rugged-surface",
    "pgd-attack-fails",
    "last-softmax",
)
#: (probe, the share from which it counts, finding, what is said).
_SHARES = (
    (
        "only_fgsm",
        WEAKER_BREAKS_SHARE,
        "single-step-beats-iterative",
        "A single step breaks {share} that PGD-10 does not.",
    ),
    (
        "only_noise",
        WEAKER_BREAKS_SHARE,
        "noise-beats-pgd",
        "Random noise breaks {share} that PGD-10 does not.",
    ),
    ("only_pgd40", MORE_STEPS_BREAK_SHARE, "more-steps-break", "40 steps break {share} that 10 do not."),
    (
        "only_starts",
        MORE_STEPS_BREAK_SHARE,
        "restarts-break",
        "5 random starts of PGD-10 break {share} that one does not.",
    ),
    (
        "unbounded",
        UNBOUNDED_LEAVES_SHARE,
        "unbounded-attack-fails",
        "PGD without a bound leaves {share} standing.",
    ),
)


def causes_of(evidence: Evidence) -> list[Finding]:
    """Findings on evidence in any state, with no verdict in mind."""
    found = []
    lost = sum(int(evidence.unanswered(name).sum()) for name in evidence.header.plan.attacks)
    if lost:
        message = f"{lost} attacked examples gave no finite, repeatable answer."
        found.append(finding("no-answer-under-attack", message))
    found += _imbalance(evidence) + _weak_square(evidence)
    # Zero gradients explain whatever the trajectory looks like.
    found += _gradients(evidence) or _trajectory(evidence)
    if sentence := failure_sentence(evidence.header.probes, evidence.header.plan.eot):
        found.append(finding("pgd-attack-fails", sentence))
    if evidence.header.probes.get("examples", 0) >= FEWEST_PROBED:
        found += _from_probes(evidence.header.probes)
        if not {"rugged-surface", "vanishing-gradients", "shattered-gradients"} & {
            item.code for item in found
        }:
            found += _nonlinear(evidence.header.probes)
    found += _last_softmax(evidence.header.probes)
    if 0 < len(evidence) < FEW_EXAMPLES:
        found.append(finding("few-examples", f"Only {examples(len(evidence))} audited."))
    classes = int(evidence.header.model.get("classes", 4))
    if classes < 4:
        message = f"The targeted DLR loss needs 4 classes; with {classes} the margin stood in."
        found.append(finding("substituted-loss", message))
    return [_tried(item, evidence.header.probes) for item in found]


def _tried(item: Finding, probes: dict[str, float]) -> Finding:
    """With what came of the advice, where it was tried: PGD-10 on a margin loss."""
    n = probes.get("examples", 0)
    if item.code not in _MARGIN_ADVISED or "pgd10_margin" not in probes or n < FEWEST_PROBED:
        return item
    usual, margin = (f"{100 * probes[name]:.0f} %" for name in ("pgd10", "pgd10_margin"))
    tried = f"Tried: PGD-10 on a margin loss leaves {margin} of {examples(n)}, on the cross-entropy {usual}."
    return replace(item, advice=f"{item.advice} {tried}")


def _imbalance(evidence: Evidence) -> list[Finding]:
    if evidence.header.plan.cascade or not {"apgd-ce", "apgd-t"} <= set(evidence.attacks):
        return []
    values = table.paired(evidence, "apgd-ce", "apgd-t").values
    if len(values) < FEW_EXAMPLES or values.mean() < IMBALANCE_GAP or values.sum() < IMBALANCED_EXAMPLES:
        return []
    message = (
        f"APGD on a targeted margin leaves {100 * values.mean():.1f} points less of {examples(len(values))} than on "
        "the cross-entropy."
    )
    return [finding("imbalanced-gradients", message)]


def _weak_square(evidence: Evidence) -> list[Finding]:
    """Square without its usual queries says little: whatever it leaves more than PGD-10 is what it was not given."""
    plan = evidence.header.plan
    if (
        plan.cascade
        or "square" not in plan.reduced(1 << 30)
        or not {"pgd10", "square"} <= set(evidence.attacks)
    ):
        return []
    values = table.paired(evidence, "square", "pgd10").values
    if not len(values) or values.mean() < WEAK_GAP or values.sum() < WEAK_EXAMPLES:
        return []
    message = (
        f"Square leaves {100 * values.mean():.1f} points more of {examples(len(values))} than "
        f"{plan.title('pgd10', 1 << 30)}, with {plan.budget_of('square').square_queries:,} of its usual "
        f"{Budget().square_queries:,} queries: the black-box attack was too weak to tell."
    )
    return [finding("weak-black-box", message)]


def _gradients(evidence: Evidence) -> list[Finding]:
    """Exactly zero gradients: because the softmax is saturated, or because there is no derivative."""
    steps = evidence.header.plan.budget.pgd_steps
    zeros = evidence.zero_gradients[np.isfinite(evidence.zero_gradients)]
    share = float(zeros.mean()) / (steps + 1) if len(zeros) else 0.0
    if share < ZERO_GRADIENT_SHARE:
        return []
    saturated, probed = (evidence.header.probes.get(name) for name in ("saturated", "examples"))
    message = f"{100 * share:.0f} % of PGD-10's gradients on {examples(len(zeros))} are exactly zero"
    if saturated is None or not probed or probed < FEWEST_PROBED:
        return [finding("vanishing-gradients", f"{message}.")]
    message += (
        f"; the softmax of {round(saturated * probed)} of {probed:.0f} clean inputs that were probed is exactly 1 in "
        "float32."
    )
    shattered = share >= SHATTERED_SHARE and saturated < share / 2
    return [finding("shattered-gradients" if shattered else "vanishing-gradients", message)]


def _trajectory(evidence: Evidence) -> list[Finding]:
    """Of the examples that PGD-10 left standing: whether its steps agreed, and where it stopped."""
    found = []
    similar = _mean_standing(evidence, evidence.sgcs)
    if similar is not None and similar < RUGGED_SGCS:
        message = f"PGD-10's steps disagree: SGCS is {similar:.2f} where it found nothing."
        found.append(finding("rugged-surface", message))
    left = _mean_standing(evidence, evidence.fosc_normalised)
    if left is not None and left > UNCONVERGED_FOSC:
        message = f"PGD-10 stops far from a maximum: FOSC / (eps |g|) is {left:.2f}."
        found.append(finding("pgd-not-converged", message))
    return found


def _nonlinear(probes: dict[str, float]) -> list[Finding]:
    error = probes.get("linearity", 0.0)
    if error < NONLINEARITY:
        return []
    message = f"The loss leaves its tangent plane by {error:.1f} times log K within the ball."
    return [finding("rugged-surface", message)]


def _last_softmax(probes: dict[str, float]) -> list[Finding]:
    """PGD-10 on the model as it is, and before its last softmax."""
    if "before_pgd10" not in probes:
        return []

    def description(name: str) -> str:
        left = f"leaves {100 * probes[f'{name}pgd10']:.0f} %"
        return f"{left} (FOSC / (eps |g|) {probes[f'{name}fosc_normalised']:.2f}, SGCS {probes[f'{name}sgcs']:.2f})"

    message = (
        f"Of {examples(int(probes.get('examples', 0)))} PGD-10 {description('')}; before the network's last softmax or "
        f"sigmoid it {description('before_')}."
    )
    return [finding("last-softmax", message)]


def _mean_standing(evidence: Evidence, values: NDArray[np.float64]) -> float | None:
    """The mean of `values` (n,) over the examples that survive PGD-10; None where they are too few."""
    standing = evidence.survives("pgd10")
    if len(values) != len(standing):
        return None
    kept = values[standing & np.isfinite(values)]
    return float(kept.mean()) if len(kept) >= FEW_EXAMPLES // 2 else None


def _from_probes(probes: dict[str, float]) -> list[Finding]:
    """What the small experiments say; a share that is missing says nothing."""
    n = int(probes.get("examples", 0))
    of = f"of {examples(n)}"
    found = []

    def share(name: str) -> float:
        return probes.get(name, float("nan"))

    for name, least, code, message in _SHARES:
        if share(name) >= least:
            found.append(finding(code, message.format(share=f"{100 * share(name):.0f} % {of}")))
    if share("pgd10") >= ACCURACY_TO_LOSE and share("pgd10") - share("pgd10_x4") < SMALLEST_FALL:
        message = (
            f"PGD-10's robust accuracy is {100 * share('pgd10'):.0f} % at eps and "
            f"{100 * share('pgd10_x4'):.0f} % at 4 eps ({of})."
        )
        found.append(finding("flat-in-eps", message))
    other = share("other_norm")
    if (
        other >= OTHER_NORM_ACCURACY
        and share("pgd10") <= LITTLE_LEFT_SHARE * other
        and other >= OF_SMALL_RADIUS_SHARE * share("pgd10_x0.25")
    ):
        message = (
            f"PGD-10 leaves {100 * other:.0f} % {of} in the other norm's usual ball and "
            f"{100 * share('pgd10'):.0f} % in this one."
        )
        found.append(finding("robust-in-another-norm", message))
    elif share("pgd10_x0.25") >= SMALL_RADIUS_ACCURACY and share("pgd10") <= LITTLE_LEFT_SHARE * share(
        "pgd10_x0.25"
    ):
        message = (
            f"PGD-10 leaves {100 * share('pgd10_x0.25'):.0f} % {of} at a quarter of eps and "
            f"{100 * share('pgd10'):.0f} % at eps."
        )
        found.append(finding("robust-at-smaller-eps", message))
    return found
