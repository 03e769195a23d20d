"""From the structures that look best to a better one, by changing one thing at a time."""

from __future__ import annotations

from collections.abc import Iterator

from robaudit.inputs.networks.families import activation, plainest, varied
from robaudit.inputs.networks.family import Family, Plan
from robaudit.inputs.normalisation import Normalisation
from robaudit.inputs.recovery.scoring import Choice, doubt, least_doubted, preferred
from robaudit.inputs.recovery.trials import GLANCE_IMAGES, Guess, Trial

#: Standard errors of doubt within which structures are level with the best, and how many of them are improved on.
LEVEL_ERRORS, MOST_STARTS = 2.0, 4
#: Changes made to a structure, at most.
MOST_CHANGES = 8


def starts(trial: Trial, race: list[Choice]) -> list[Choice]:
    """Where to begin to change: the best of a race, other structures that are level with it, and its plainest form.

    A wrong activation or pooling may make up for something else that is wrong, and be hard to leave by single steps.
    """
    found: dict[object, Choice] = {}
    best = race[0]
    for choice in race:
        if doubt(choice, best) < doubt(best, best) + LEVEL_ERRORS and len(found) < MOST_STARTS:
            found.setdefault(choice.candidate.plan, choice)
    plan, saved = plainest(best.candidate.plan)
    plain = trial.answers((best.candidate.with_plan(plan, saved), best.normalisation), trial.count)
    return [*found.values(), *([plain] if plain and plan not in found else [])]


def climb(trial: Trial, starts: list[Choice], normalisations: list[Normalisation]) -> Choice:
    """From each start, change one thing at a time, the normalisation included, as long as that is less doubted.

    Those that a glance leaves open are changed together with the activation, too.

    Returns:
        The least doubted of where the climbs end.

    """
    seen: set[tuple[Plan, Normalisation]] = set()
    ends = []
    for start in starts:
        choice = start
        for _ in range(MOST_CHANGES):
            if choice.key in seen:  # what follows is known
                break
            seen.add(choice.key)
            together = open_normalisations(trial, choice, normalisations)
            race = trial.race([choice.guess, *neighbours(choice, normalisations, together)], trial.count)
            if not race or not preferred(race[0], choice):
                break
            choice = race[0]
        ends.append(choice)
    return least_doubted(ends)[0][1]


def neighbours(
    choice: Choice, normalisations: list[Normalisation], together: list[Normalisation]
) -> Iterator[Guess]:
    """Guesses that differ in one thing, or in the activation and in the normalisation, that being one of `together`."""
    candidate, norm = choice.guess
    yield from ((candidate, other) for other in normalisations)
    for plan, price in varied(candidate.plan, Family.neighbours):
        changed = candidate.with_plan(plan, price)
        soft = activation(plan) != activation(candidate.plan)
        yield from ((changed, other) for other in (norm, *(together if soft else ())))


def open_normalisations(
    trial: Trial, choice: Choice, normalisations: list[Normalisation]
) -> list[Normalisation]:
    """Those to be changed together with the activation: none where it is ReLU, else what a glance leaves open.

    Which of the softer ones looks right depends on the scale of the images; ReLU without biases is the same on any.
    """
    candidate, norm = choice.guess
    others = [other for other in normalisations if other != norm]
    if activation(candidate.plan) == "relu" or not others:
        return []
    glance = trial.race([choice.guess, *((candidate, other) for other in others)], GLANCE_IMAGES)
    return [c.normalisation for c in glance if c.normalisation != norm]
