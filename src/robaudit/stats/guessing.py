"""Whether answers are better than guessing: by which a model is called near chance, and an epoch of training at chance.

`near_chance` is for a model that somebody wants to load or audit: it asks for a share of the way to perfection, from
few images too. `at_chance` is for a network that only begins to learn: any accuracy clearly above guessing's will do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Standard errors by which accuracy must be above guessing's.
CLEAR_STANDARD_ERRORS = 2.5
#: Accuracy must be this share of the way from guessing to perfection, however many images there are; the second share
#: is always enough, however few there are: these prove little, but speak against guessing.
LEAST_SHARE, ENOUGH_SHARE = 0.1, 0.25
#: Images for each class from which on the commonest one is told from one that is common by luck.
COUNTED_PER_CLASS = 30
#: Images of which a model tells at least two apart, if it tells any.
TOLD_APART = 16


def near_chance(right: int, labels: Sequence[int], answers: int = 0) -> bool:
    """Whether this many right answers are hardly more than guessing gives.

    A model that always gives one answer guesses, however many are right.

    Guessing is one class of K at random, or always the commonest one where images are enough to know it.

    Args:
        right: answers that are right.
        labels: K numbers, how many of the images are of each class; at least one is.
        answers: how many different classes it answered with; 0 where that is not known.

    """
    count, classes = sum(labels), len(labels)
    if answers == 1 and count >= TOLD_APART and max(labels) < count:
        return True
    known = (
        count >= COUNTED_PER_CLASS * classes and max(labels) < count
    )  # one class alone says nothing of its share
    guessing = max(labels) / count if known else 1 / classes
    error = math.sqrt(guessing / (1 - guessing) / count)  # of accuracy, as a share of the way to perfection
    needed = min(max(CLEAR_STANDARD_ERRORS * error, LEAST_SHARE), ENOUGH_SHARE)
    return right / count < guessing + needed * (1 - guessing)


def at_chance(clean: float, labels: Sequence[int]) -> bool:
    """Whether an accuracy is no better than always guessing the most frequent class.

    Args:
        clean: share of the examples.
        labels: how many of them are of each class.

    """
    count = sum(labels)
    guessing = max(labels) / count
    return clean <= guessing + CLEAR_STANDARD_ERRORS * math.sqrt(guessing * (1 - guessing) / count)
