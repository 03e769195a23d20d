"""Choosing among architectures and normalisations by accuracy and loss on labelled images."""

from __future__ import annotations

import dataclasses
import math

from robaudit.errors import RobauditError
from robaudit.inputs.data.images import Images
from robaudit.inputs.normalisation import Normalisation
from robaudit.inputs.recovery.belief import doubt, likeliest, settled
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.choices import Choice, mean_loss, near_chance
from robaudit.inputs.recovery.improving import improve, improved, level_with
from robaudit.inputs.recovery.trials import Pair, Trial
from robaudit.inputs.recovery.variations import activation, combinations, variations

#: Structures tried at all, and those after which it is asked whether to go on.
WAVES = (8, 32, 80, 160)
#: Cost by which structures are so much less likely that they are not tried beside one that sees well.
FAR = 2.0
#: The share of the way from chance to perfection at which a structure sees well.
WELL = 0.4
#: Clean accuracy above which no other activation is tried on structures that are not the best.
CLEAR = 0.95
#: The fewest and most structures of the second round, and the multiplications it may cost where many are level.
FINALISTS, FINAL = (6, 48), 4e11
#: Structures and normalisations that are tried together.
FEW = 4


def choose(
    candidates: list[Candidate], normalisations: list[Normalisation], images: Images, device: str = "cpu"
) -> list[Choice]:
    """Try candidates under normalisations; the chosen one first, then the rivals by accuracy.

    Structures are first tried on few images under the two likeliest normalisations; the better ones on more; then the
    best under every normalisation, and the best few of both together; then its variations that shapes cannot tell
    (activation, pooling, order of norm); last the normalisations that are still level on most images.

    Raises:
        RobauditError: no candidate runs on such images.

    """
    trial = Trial(images, device)
    trial.measure(candidates)
    _, look, last_word = trial.counts
    first = _first_round(trial, candidates, normalisations)
    if not first:
        shape = "x".join(str(size) for size in images.shape)
        raise RobauditError(
            f"{candidates[0].spec}: does not run on images of {shape}; pass the right --dataset"
        )
    if len(candidates) == 1 and len(normalisations) == 1:
        return [trial.choice((candidates[0], normalisations[0]), last_word) or first[0]]
    second = trial.race(_finalists(trial, first), look)
    best = settled(trial, second, look)
    compared = trial.race([(best.candidate, norm) for norm in normalisations], look)
    by_loss = likeliest(trial, trial.finished(compared, look), normalisations, look)
    pairs = _together(by_loss, trial.finished(second, look))
    pairs += _activated(trial, best, normalisations)
    if not _sees(trial, best):  # nothing may be right yet
        pairs += trial.affordable([(c.candidate, norm) for c in second for norm in normalisations])
    others = trial.race(pairs, look)
    best = settled(trial, others, look)
    best, varied = improved(trial, best, level_with(trial, best, others))
    norms = list(dict.fromkeys([*(choice.normalisation for choice in by_loss), best.normalisation]))
    winner, *level = _normalised(trial, best, norms, normalisations)
    if winner.normalisation != best.normalisation:  # what is the better structure may depend on it
        best, more = improve(trial, winner)
        varied += more
        winner, *level = _normalised(trial, best, norms, normalisations)
    return [winner, *_rivals(winner, [*level, *compared], [*varied, *others, *second])]


def _together(normalised: list[Choice], structures: list[Choice]) -> list[Pair]:
    """The best few structures under the best few normalisations, and all under the best.

    What is chosen apart may be wrong together.
    """
    best = normalised[0].candidate
    rest = {c.candidate.spec: c.candidate for c in structures if c.candidate is not best}
    few = [best, *list(rest.values())[: FEW - 1]]
    pairs = [(candidate, c.normalisation) for candidate in few for c in normalised[:FEW]]
    return [*pairs, *((candidate, normalised[0].normalisation) for candidate in rest.values())]


def _activated(trial: Trial, best: Choice, normalisations: list[Normalisation]) -> list[Pair]:
    """Other activations under all normalisations where ReLU is not the best.

    Which of the softer ones looks right depends on the scale of the images; ReLU without biases is the same on any.
    """
    spec = best.candidate.spec
    if activation(spec) == "relu":
        return []
    changed = [
        dataclasses.replace(best.candidate, spec=text, cost=best.candidate.cost + cost)
        for text, cost in variations(spec)
        if activation(text) != activation(spec)
    ]
    return trial.affordable([(candidate, norm) for norm in normalisations for candidate in changed])


def _normalised(
    trial: Trial, best: Choice, few: list[Normalisation], normalisations: list[Normalisation]
) -> list[Choice]:
    """The structure under the normalisations that were level on most images, the chosen one first."""
    last_word = trial.counts[2]
    last = trial.finished(trial.race([(best.candidate, norm) for norm in few], last_word), last_word)
    return likeliest(trial, last, normalisations, last_word)


def _rivals(winner: Choice, norms: list[Choice], structures: list[Choice]) -> list[Choice]:
    """Other normalisations of the winner, then other structures, the best first."""
    found = {c.normalisation: c for c in reversed(norms) if c.normalisation != winner.normalisation}
    same = [dataclasses.replace(c, candidate=winner.candidate) for c in found.values()]
    other = {c.candidate.spec: c for c in reversed(structures) if c.candidate.spec != winner.candidate.spec}
    return [*_by_evidence(same), *_by_evidence(list(other.values()))[:3]]


def _by_evidence(choices: list[Choice]) -> list[Choice]:
    """Who stayed longest in a race first, then by loss where it is known, then by accuracy."""
    return sorted(
        choices,
        key=lambda c: (
            -len(c.right),
            math.inf if c.losses is None else mean_loss(c),
            -c.accuracy,
            c.candidate.cost,
        ),
    )


def _first_round(
    trial: Trial, candidates: list[Candidate], normalisations: list[Normalisation]
) -> list[Choice]:
    """Many structures on few images, in waves from the likely to the odd, then other activations.

    All under the two likeliest normalisations, the likeliest under every usual one, as a wrong structure may see better
    than the right one behind a wrong normalisation. No further wave where one structure sees well already and the next
    are far less likely; the unusual scales only where the usual ones see nothing.
    """
    glance, found = trial.counts[0], list[Choice]()
    start = 0
    for end in WAVES:
        wave = candidates[start:end]
        if not wave or _settles(trial, found, wave[0].cost):
            break
        pairs = [(candidate, norm) for candidate in wave for norm in normalisations[:2]]
        if not start:
            usual = [norm for norm in normalisations[2:] if not norm.unusual]
            pairs += trial.affordable([(candidate, norm) for candidate in wave for norm in usual])
        found = trial.race([*_pairs(found), *pairs], glance)
        start = end
    if not found or near_chance(found[0].accuracy, trial.images.classes, len(found[0].right)):
        pairs = [(candidate, norm) for candidate in candidates[: WAVES[1]] for norm in normalisations[2:]]
        found = trial.race([*_pairs(found), *trial.affordable(pairs)], glance)
    if found and found[0].accuracy < CLEAR:
        changed = _changed(trial, found, candidates, normalisations)
        found = trial.race([*_pairs(found), *trial.affordable(changed)], glance)
    return found


def _settles(trial: Trial, found: list[Choice], cost: float) -> bool:
    """Whether some structure sees well that is far likelier than one of such a cost."""
    if not found or not _sees(trial, found[0]):
        return False
    return settled(trial, found, trial.counts[0]).candidate.cost + FAR < cost


def _changed(
    trial: Trial, found: list[Choice], candidates: list[Candidate], normalisations: list[Normalisation]
) -> list[Pair]:
    """Other activations and poolings: of the best structure where it sees well, else of the likeliest three."""
    best = found[0]
    sees = _sees(trial, best)
    bases = [best.candidate] if sees else candidates[:3]
    norms = [best.normalisation] if sees else normalisations[:3]
    return [
        (dataclasses.replace(candidate, spec=spec, cost=candidate.cost + cost), norm)
        for candidate in bases
        for spec, cost in combinations(candidate.spec, blind=not sees)
        for norm in norms
    ]


def _sees(trial: Trial, choice: Choice) -> bool:
    """Whether a choice is right far more often than chance."""
    chance = 1 / trial.images.classes
    return choice.accuracy > chance + WELL * (1 - chance)


def _pairs(choices: list[Choice]) -> list[Pair]:
    return [(choice.candidate, choice.normalisation) for choice in choices]


def _finalists(trial: Trial, first: list[Choice]) -> list[Pair]:
    """The better normalisation of the best structures, by loss, and of the cheapest of those that finished."""
    glance = trial.counts[0]
    ordered = [trial.with_losses(c, glance) for c in trial.finished(first, glance)]
    least = min(ordered, key=mean_loss, default=first[0])
    ordered.sort(key=lambda c: doubt(c, least))
    best: dict[str, Choice] = {}
    for choice in [*ordered, *first]:
        best.setdefault(choice.candidate.spec, choice)
    finished = [choice for choice in best.values() if choice.losses is not None]
    cheapest = min(finished or best.values(), key=lambda choice: choice.candidate.cost)
    few, many = FINALISTS
    count = int(min(many, max(few, FINAL / (trial.work * trial.counts[1]))))
    return _pairs(list(dict.fromkeys([*list(best.values())[:count], cheapest])))
