"""From the structures that look best to a better one: what shapes cannot tell is changed step by step."""

from __future__ import annotations

import dataclasses

from robaudit.inputs.recovery.belief import clearly, doubt
from robaudit.inputs.recovery.choices import Choice, less_likely, mean_loss, worse
from robaudit.inputs.recovery.trials import Trial
from robaudit.inputs.recovery.variations import activation, plainest, variations

#: Standard errors of loss (and how unusual a structure is, in the same unit) within which structures are level, and
#: how many of them are improved on.
LEVEL, STARTS = 2.0, 4
#: Changes made to a structure, at most.
CHANGES = 8
#: Standard errors of loss by which a change must be better on a look to be tried on more images.
HOPEFUL = 1.5


def level_with(trial: Trial, best: Choice, race: list[Choice]) -> list[Choice]:
    """Other structures of a race that are level with the best, the likeliest first."""
    look = trial.counts[1]
    rival = trial.with_losses(best, look)
    tried = [trial.with_losses(c, look) for c in trial.finished(race, look)]
    found: dict[str, Choice] = {}
    for choice in sorted(tried, key=lambda c: doubt(c, rival)):
        if (
            choice.candidate.spec != best.candidate.spec
            and doubt(choice, rival) < doubt(rival, rival) + LEVEL
        ):
            found.setdefault(choice.candidate.spec, choice)
    return list(found.values())[: STARTS - 1]


def improved(trial: Trial, best: Choice, level: list[Choice]) -> tuple[Choice, list[Choice]]:
    """`improve` from the best, from those level with it, and from its plainest form, where it can be tried.

    A wrong activation or pooling may make up for something else that is wrong, and be hard to leave by single steps.
    """
    found, varied = improve(trial, best)
    for start in level:
        other, more = improve(trial, start)
        mine, theirs = (trial.with_losses(choice, trial.counts[2]) for choice in (found, other))
        varied += more
        if clearly(theirs, mine):
            found, best = other, start
    spec = plainest(best.candidate.spec)
    plain = dataclasses.replace(best.candidate, spec=spec, cost=0.0)
    begin = trial.choice((plain, best.normalisation), trial.counts[1])
    if spec in (best.candidate.spec, found.candidate.spec) or begin is None:
        return found, varied
    other, more = improve(trial, begin)
    mine, theirs = (trial.with_losses(choice, trial.counts[2]) for choice in (found, other))
    plain_still = activation(other.candidate.spec) == activation(spec)
    better = not clearly(mine, theirs) if plain_still else mean_loss(theirs) <= mean_loss(mine)
    return (other if better else found), [*varied, *more]


def improve(trial: Trial, best: Choice) -> tuple[Choice, list[Choice]]:
    """Change one thing at a time that shapes cannot tell, as long as it helps significantly.

    Returns:
        The best, and those variations of it that were no worse, but not significantly better.

    """
    _, look, last_word = trial.counts
    varied: list[Choice] = []
    for _ in range(CHANGES):
        changed = [
            dataclasses.replace(best.candidate, spec=spec, cost=best.candidate.cost + cost)
            for spec, cost in dict(variations(best.candidate.spec)).items()
        ]
        rival = trial.with_losses(trial.choice((best.candidate, best.normalisation), look) or best, look)
        race = trial.race([(candidate, best.normalisation) for candidate in changed], look, rival)
        varied = [trial.with_losses(c, look) for c in trial.finished(race, look) if not worse(c, rival, 1.0)]
        hopeful = [choice for choice in varied if less_likely(rival, choice) > HOPEFUL]
        if hopeful:
            rival = trial.with_losses(rival, last_word)
            hopeful = [trial.with_losses(choice, last_word) for choice in hopeful]
        better = [choice for choice in hopeful if clearly(choice, rival)]
        if not better:
            break
        best = min(better, key=mean_loss)
    return best, varied
