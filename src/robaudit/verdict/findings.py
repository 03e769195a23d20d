"""Everything the audit may say about a model besides its accuracies: a code, how bad it is, and what to do.

`docs/findings.md` has an entry for every code here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from robaudit.errors import RobauditError

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        code: a key of `ADVICE`.
        severity: `error`: the audit cannot be believed as it stands; `warning`: a cause or sign of overestimated
            robustness; `note`: worth knowing.
        message: what was seen, with its numbers, in one sentence.
        advice: what to do, in one sentence.

    """

    code: str
    severity: Severity
    message: str
    advice: str

    def to_dict(self) -> dict[str, str]:
        """As JSON-ready data."""
        return {"code": self.code, "severity": self.severity, "message": self.message, "advice": self.advice}


#: code: (severity, advice)
ADVICE: dict[str, tuple[Severity, str]] = {
    "black-box-beats-white-box": (
        "warning",
        "Do not report PGD-10 accuracy; report AutoAttack's, and retrain with `robaudit train --heal`.",
    ),
    "autoattack-beats-pgd": (
        "warning",
        "Report AutoAttack's accuracy; select checkpoints by it, or by PGD-10 together with FOSC.",
    ),
    "transfer-beats-white-box": (
        "warning",
        "Images made on another network break it where its own gradient does not: do not report PGD-10 accuracy.",
    ),
    "surrogate-beats-white-box": (
        "warning",
        "Its own gradient is useless, not the attack: report what stands up to the stand-in's, and say which it was.",
    ),
    "weak-black-box": (
        "warning",
        "Do not take this for a sign of honest gradients: audit again with the standard --square-queries.",
    ),
    "imbalanced-gradients": (
        "warning",
        "Attack with margin losses (APGD-T) while training and validating; cross-entropy alone misleads here.",
    ),
    "vanishing-gradients": (
        "warning",
        "Look for saturated softmax, large logits or temperature; attack with a margin loss, never cross-entropy.",
    ),
    "shattered-gradients": (
        "warning",
        "Attack through a differentiable stand-in (BPDA), or without gradients; believe Square, not PGD.",
    ),
    "rugged-surface": (
        "warning",
        "Attack with restarts and margin losses; do not select checkpoints by PGD-10 alone.",
    ),
    "pgd-not-converged": (
        "warning",
        "Do not report PGD-10 accuracy: use more steps, restarts and APGD, and watch FOSC while training.",
    ),
    "more-steps-break": (
        "warning",
        "Do not report PGD-10 accuracy: use at least 40 steps, restarts and APGD.",
    ),
    "restarts-break": (
        "warning",
        "Do not report PGD-10 accuracy: use restarts, APGD, and at least Square.",
    ),
    "single-step-beats-iterative": (
        "warning",
        "Iterative attacks are stuck near the input: look for gradient masking before reporting PGD-10.",
    ),
    "noise-beats-pgd": (
        "warning",
        "The gradients are worse than none: believe Square, and look for what hides them.",
    ),
    "unbounded-attack-fails": (
        "warning",
        "No model is robust without a bound: the gradient is masked, find where it is lost.",
    ),
    "pgd-attack-fails": (
        "warning",
        "Attack before the softmax, on the margin, through a differentiable stand-in, or without gradients.",
    ),
    "flat-in-eps": (
        "warning",
        "Robust accuracy must fall as eps grows: the gradient is masked, or quantised away.",
    ),
    "rises-with-eps": (
        "warning",
        "A larger ball holds every attack of a smaller one: PGD-10 is stuck, do not report its accuracy.",
    ),
    "robust-at-smaller-eps": (
        "note",
        "Was eps given in normalised units when it was trained? Then it is robust at eps times std only; say so.",
    ),
    "robust-in-another-norm": (
        "note",
        "Say in which norm it is robust; it was probably trained in the other one. Audit that with --norm.",
    ),
    "few-examples": ("note", "Audit more examples (raise --limit, or use a larger data set)."),
    "substituted-loss": ("note", "Nothing to do; compare these numbers with others of the same kind only."),
    "near-chance": (
        "error",
        "Check the data set, --normalise, --arch and the label order; then run again, or add --force.",
    ),
    "wrong-normalisation": (
        "warning",
        "Check --normalise and the input range: with other inputs than in training it is not the model that was meant.",
    ),
    "randomised-output": (
        "error",
        "Audit its mean over several draws (leave --eot out), or switch off what is random (dropout, noise).",
    ),
    "randomised-and-averaged": (
        "note",
        "Say with the result that it is about the mean of the logits over --eot draws; one draw may do worse.",
    ),
    "stateful-output": (
        "error",
        "Freeze whatever changes between calls (running statistics, counters, caches) and audit again.",
    ),
    "batch-dependent-output": (
        "error",
        "Use statistics of training instead of the batch's (eval mode), and audit again.",
    ),
    "nonfinite-output": (
        "error",
        "Find where the model overflows; examples with NaN or infinite logits are counted neither way.",
    ),
    "no-answer-under-attack": (
        "warning",
        "Find the inputs inside the ball at which the model overflows or changes its mind, and audit again.",
    ),
    "last-softmax": (
        "note",
        "Judge and compare the network before it; what differs comes from the softmax alone.",
    ),
    "probabilities": (
        "warning",
        "PGD-10 attacks them as they are, the other attacks what comes before the softmax where the network's graph is "
        "known (last-softmax says so); where it is not, return logits.",
    ),
}


def finding(code: str, message: str) -> Finding:
    """The finding `code` with what was seen.

    Raises:
        KeyError: no such code.

    """
    severity, advice = ADVICE[code]
    return Finding(code, severity, message, advice)


def from_dict(data: dict[str, str]) -> Finding:
    """The finding that `to_dict` wrote, as plain data.

    Raises:
        RobauditError: the code is unknown.
        ValueError: a field is missing, or the severity is unknown.

    """
    try:
        found = Finding(**data)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"finding is damaged: {error}") from error
    if found.code not in ADVICE:
        raise RobauditError(
            f"finding '{found.code:.40}': is not known to this version of robaudit; upgrade it, and do not trust the "
            "evidence if no version knows it"
        )
    if found.severity not in get_args(Severity):
        raise ValueError(f"finding is damaged: severity '{found.severity}'")
    return replace(found, severity=ADVICE[found.code][0])  # whatever a file says of how grave it is
