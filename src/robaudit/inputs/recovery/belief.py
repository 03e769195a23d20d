"""Which of several choices is to be believed: by accuracy, by loss, and by how unusual it is."""

from __future__ import annotations

from robaudit.errors import RobauditError
from robaudit.inputs.normalisation import Normalisation
from robaudit.inputs.recovery.choices import UNUSUAL, Choice, less_likely, mean_loss, ranked, worse
from robaudit.inputs.recovery.likelihood import WORST
from robaudit.inputs.recovery.trials import Trial
from robaudit.inputs.recovery.variations import activation

#: Standard errors or deviations by which a choice must be better to be believed against expectation.
SURE = 3.5
#: The share by which a change must lower the loss, and by which alone another activation is believed; the deviations of
#: accuracy by which it must be better else.
GAIN, LARGE, BETTER = 0.02, 0.1, 2.0
#: Standard errors of the mean loss within which normalisations are level.
LEVEL = 1.0


def likeliest(
    trial: Trial, choices: list[Choice], normalisations: list[Normalisation], count: int
) -> list[Choice]:
    """Choices that differ in normalisation with their losses on so many images, the chosen one first.

    Of those not clearly less accurate, the least loss; of those level with it, the likeliest before anything is tried.
    Unusual ones must be better by far: a network almost without biases answers alike on any scale, raw bytes too, but
    its logits, and with them the gradients of a loss, are another's. Nor does a little loss speak against none: images
    that are too large make a hesitant network surer, images that are too small harm one that is used to large ones.
    """
    able = _able(trial, choices, count, free=False)
    best = min(able, key=mean_loss)
    tolerance = SURE if best.normalisation.unusual else LEVEL
    likely = sorted(able, key=lambda choice: normalisations.index(choice.normalisation))
    chosen = next(
        choice
        for choice in likely
        if less_likely(choice, best) <= (SURE if choice.normalisation.text == "none" else tolerance)
    )
    return [chosen, *sorted((c for c in able if c is not chosen), key=mean_loss)]


def settled(trial: Trial, race: list[Choice], count: int) -> Choice:
    """The likeliest of those who finished: loss in standard errors against how unusual the structure is."""
    able = _able(trial, trial.finished(race, count) or race, count, free=True)
    best = min(able, key=mean_loss)
    return min(able, key=lambda c: doubt(c, best))


def clearly(choice: Choice, rival: Choice) -> bool:
    """Whether a change is an improvement that the loss proves.

    Another activation must bring a large one, or one that accuracy shows too: a network that is masked or overconfident
    is a little less wrong with a softer activation than it was trained with.
    """
    gain = 1 - mean_loss(choice) / max(mean_loss(rival), 1e-12)
    softened = activation(choice.candidate.spec) != activation(rival.candidate.spec)
    enough = gain > LARGE or worse(rival, choice, BETTER) if softened else gain > GAIN
    return less_likely(rival, choice) > SURE and enough


def doubt(choice: Choice, best: Choice) -> float:
    """Standard errors of loss behind the best, and how unusual the structure is, in the same unit."""
    return less_likely(choice, best) + UNUSUAL * choice.candidate.cost


def _able(trial: Trial, choices: list[Choice], count: int, *, free: bool) -> list[Choice]:
    """Those not clearly less accurate than the best, nor with more answers that are no number, with their losses.

    Raises:
        RobauditError: there is none.

    """
    if not choices:
        raise RobauditError("no structure runs on all the images; pass --arch")
    most = ranked(choices)[0]
    able = [trial.with_losses(c, count, free=free) for c in choices if not worse(c, most, SURE)]
    fewest = min(_failures(c) for c in able)
    return [c for c in able if _failures(c) == fewest]


def _failures(choice: Choice) -> int:
    assert choice.losses is not None
    return int((choice.losses >= WORST).sum())
