"""The search for the structure and normalisation that images believe most."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from robaudit.errors import RobauditError
from robaudit.inputs.data.images import Images
from robaudit.inputs.networks.families import varied
from robaudit.inputs.networks.family import Family
from robaudit.inputs.normalisation import Normalisation
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.climbing import climb, starts
from robaudit.inputs.recovery.scoring import PRICE_WORTH, Choice, doubt, least_doubted, sees
from robaudit.inputs.recovery.special import tried_early
from robaudit.inputs.recovery.trials import GLANCE_IMAGES, Trial

#: Structures tried at all, and those after which it is asked whether to go on.
WAVES = (8, 32, 80, 160)
#: Price by which structures are so much less likely that they are not tried beside one that sees well.
FAR_DEARER = 2.0
#: Clean accuracy above which activations are not changed together with other things; nor are they of networks that take
#: more multiplications an image: small networks are odd, large ones regular.
ENOUGH_ACCURACY, LIGHT_WORK = 0.95, 1e7
#: Multiplications an image from which nothing but a published network is tried where the file's names are its names.
HEAVY_WORK = 5e8
#: Standard errors by which another usual normalisation must be better than none, by which each must be better than one
#: listed before it, and by which raw bytes and the like must be better still. A network almost without biases answers
#: alike on any scale, but its logits, and with them the gradients of a loss, are another's. Nor does a little loss
#: speak against none: images that are too large make a hesitant network surer, images that are too small harm one that
#: is used to large ones.
BETTER_THAN_NONE, BETTER_THAN_LISTED, BETTER_IF_UNUSUAL = 3.5, 0.35, 3.5
#: Standard errors by which blue first must be better than the same with red first.
BETTER_IF_BLUE_FIRST = 3.0


def choose(
    candidates: list[Candidate],
    normalisations: list[Normalisation],
    images: Images,
    device: str = "cpu",
    *,
    named: bool = False,
) -> list[Choice]:
    """Try candidates under normalisations; the chosen one first, then its rivals.

    Many guesses are looked at on few images, the better ones on more. The best and those level with it are then changed
    step by step in what shapes cannot tell, normalisation included, as long as the images prefer the change.

    Args:
        candidates: the likeliest first.
        normalisations: likewise.
        images: labelled.
        device: where to compute.
        named: the user named the structure, which is not changed.

    Raises:
        RobauditError: no candidate runs on such images.

    """
    trial = Trial(images, device, normalisation_prices(normalisations))
    trial.measure(candidates)
    guesses = list(itertools.product(candidates, normalisations))
    settled = named or len(guesses) == 1
    if not settled and (known := known_by_name(trial, candidates, normalisations)):
        return [known, *rivals(trial, known)]
    found = trial.race(guesses, GLANCE_IMAGES) if settled else first_look(trial, candidates, normalisations)
    if not found:
        shape = "x".join(str(size) for size in images.shape)
        raise RobauditError(
            f"{candidates[0].text}: does not run on images of {shape}; pass the right --dataset"
        )
    race = trial.race((c.guess for c in found), trial.count)
    if not race:
        raise RobauditError(
            f"{found[0].candidate.text}: runs on some images and not on all; pass --arch FILE.py:FACTORY"
        )
    best = race[0] if settled else climb(trial, starts(trial, race), normalisations)
    for norm in normalisations:
        if norm.text == "none":  # whatever was chosen, the report says how close this is
            trial.answers((best.candidate, norm), trial.count)
    return [best, *rivals(trial, best)]


def known_by_name(
    trial: Trial, candidates: list[Candidate], normalisations: list[Normalisation]
) -> Choice | None:
    """A large published network whose names the file has, under the best normalisation, where that sees.

    Its structure is known, and for large images every other guess costs minutes. Nor will another one see where the
    data have fewer classes than the network, and nothing says which.
    """
    exact = [candidate for candidate in candidates if candidate.exact]
    if not exact or trial.work < LIGHT_WORK:
        return None
    race = trial.race(itertools.product(exact, normalisations), trial.count)
    alone = trial.work >= HEAVY_WORK or exact[0].classes > trial.images.classes
    return race[0] if race and (alone or sees(race[0], trial.images.classes)) else None


def choose_behind(
    normalisation: Normalisation,
    candidates: list[Candidate],
    normalisations: list[Normalisation],
    images: Images,
    device: str = "cpu",
) -> tuple[Choice, list[Choice]]:
    """What images say behind a normalisation that the user named, and what `choose` says of the usual ones beside it.

    A wrong normalisation is made up for by a wrong structure, so the structure is that of the second, put behind the
    named one. Where nothing sees, the search behind the named one alone goes further.

    Raises:
        RobauditError: as `choose`.

    """
    others = [norm for norm in normalisations if not same(norm, normalisation)]
    choices = choose(candidates, [normalisation, *others], images, device)
    if not sees(choices[0], images.classes):
        choices = choose(candidates, [normalisation], images, device)
        return choices[0], choices
    if choices[0].normalisation is normalisation:
        return choices[0], choices
    return choose([choices[0].candidate], [normalisation], images, device)[0], choices


def same(one: Normalisation, other: Normalisation) -> bool:
    """Whether two normalisations do the same, whatever they are called."""
    return replace(one, text="") == replace(other, text="")


def normalisation_prices(normalisations: list[Normalisation]) -> dict[Normalisation, float]:
    """How unusual each normalisation is, none and those listed first being the likeliest.

    Blue first costs little beside the same with red first: no scale changes, so nothing makes up for a wrong order.
    """
    prices: dict[Normalisation, float] = {}
    for rank, norm in enumerate(normalisations):
        asked = BETTER_THAN_NONE + BETTER_THAN_LISTED * rank + BETTER_IF_UNUSUAL * norm.unusual
        prices[norm] = 0.0 if norm.text == "none" or rank == 0 else asked / PRICE_WORTH
    for norm in normalisations:
        red_first = next(
            (n for n in normalisations if norm.blue_first and same(replace(norm, blue_first=False), n)), None
        )
        if red_first:
            prices[norm] = prices[red_first] + BETTER_IF_BLUE_FIRST / PRICE_WORTH
    return prices


def first_look(
    trial: Trial, candidates: list[Candidate], normalisations: list[Normalisation]
) -> list[Choice]:
    """Guesses on few images, in waves from the likely to the odd.

    All under the two likeliest normalisations, the likeliest under every usual one, as a wrong structure may see better
    than the right one behind a wrong normalisation. No further wave where one structure sees well already and the next
    are far less likely; unusual scales and other activations only where nothing sees.
    """
    classes, found = trial.images.classes, list[Choice]()
    usual = [norm for norm in normalisations if not norm.unusual]
    for start, end in itertools.pairwise((0, *WAVES)):
        wave = candidates[start:end]
        likeliest = least_doubted(found)[0][1] if found else None
        dear = likeliest and wave and likeliest.candidate.price + FAR_DEARER < wave[0].price
        if not wave or (likeliest and dear and sees(likeliest, classes)):
            break
        guesses = [*(c.guess for c in found), *itertools.product(wave, normalisations[:2])]
        if not start:
            guesses += trial.affordable(itertools.product(wave, usual))
        found = trial.race(guesses, GLANCE_IMAGES)
    guesses = []
    if not found or not sees(found[0], classes):
        guesses = trial.affordable(itertools.product(candidates[: WAVES[1]], normalisations))
        guesses += trial.affordable(itertools.product(combined(candidates[:3]), normalisations[:3]))
    elif found[0].accuracy < ENOUGH_ACCURACY and trial.work < LIGHT_WORK:
        best = found[0]
        guesses = trial.affordable((other, best.normalisation) for other in combined([best.candidate]))
    return trial.race([*(c.guess for c in found), *guesses], GLANCE_IMAGES) if guesses else found


def combined(candidates: list[Candidate]) -> Iterator[Candidate]:
    """Other activations together with what goes with them; what such files were seen with goes first."""
    for candidate in candidates:
        found = varied(candidate.plan, Family.combinations)
        for plan, price in sorted(found, key=lambda item: (not tried_early(item[0]), item[1])):
            yield candidate.with_plan(plan, price)


def rivals(trial: Trial, best: Choice) -> list[Choice]:
    """Other normalisations of the best, then three other structures, those the most seen and least doubted first."""
    others = [c for c in trial.tried.values() if c is not None and c is not best]
    others.sort(key=lambda c: (-len(c), doubt(c, best)))
    same = [c for c in others if c.candidate.plan == best.candidate.plan]
    structures: dict[object, Choice] = {}
    for choice in others:
        if choice.candidate.plan != best.candidate.plan:
            structures.setdefault(choice.candidate.plan, choice)
    return [*same, *list(structures.values())[:3]]
