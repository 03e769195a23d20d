"""What the user asked for, and the choice among what a model may be."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.data.images import Images
from robaudit.inputs.normalisation import Normalisation, parse_normalisation, usual_normalisations
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.choices import Choice, less_likely, near_chance, worse
from robaudit.inputs.recovery.selection import choose

#: Images on which a rival must have stayed level for the choice to be called close.
CLOSE = 48
#: Standard errors of the mean loss between two normalisations below which the choice is called close.
CALLED = 3.0


@dataclass(frozen=True)
class Wishes:
    """What the user said about the model; None where nothing.

    Attributes:
        arch: `--arch`.
        normalise: `--normalise`.
        key: `--key`.
        images: labelled images to choose by.
        device: where to compute.
        force: load even what is right no more often than chance.
        shape: (C, H, W) of the images where they are not at hand.

    """

    arch: str | None = None
    normalise: str | None = None
    key: str | None = None
    images: Images | None = None
    device: str = "cpu"
    force: bool = False
    shape: tuple[int, int, int] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) of the images, as far as it is known."""
        return self.images.shape if self.images else self.shape


def normalisations_to_try(
    wishes: Wishes, stored: Normalisation | None, channels: int
) -> tuple[list[Normalisation], list[str]]:
    """What may stand before the network, and how that is known."""
    if wishes.normalise:
        return [parse_normalisation(wishes.normalise, channels)], []
    if stored:
        return [stored], [f"normalisation {stored.text} is stored with the model"]
    if wishes.images:
        return usual_normalisations(wishes.images.name, channels), []
    return [parse_normalisation("none", channels)], [
        "warning: no normalisation in the file and no images to choose by: none used; --normalise sets one"
    ]


def decide(
    options: list[Candidate], norms: list[Normalisation], wishes: Wishes, source: str
) -> tuple[Choice, list[str]]:
    """The choice among candidates, by the images where there are some, and sentences on it.

    Raises:
        RobauditError: none runs, or the best is hardly better than guessing.

    """
    if wishes.images is None:
        told = []
        if len(options) > 1 and options[1].cost < options[0].cost + 1:
            told = [f"{len(options)} architectures fit; took the likeliest, next {options[1].spec}"]
        return Choice(options[0], norms[0], torch.zeros(0, dtype=torch.bool)), told
    try:
        choices = choose(options, norms, wishes.images, wishes.device)
    except RobauditError as error:
        raise RobauditError(f"{source}: {error}") from error
    best = choices[0]
    count = len(best.right)
    if near_chance(best.accuracy, wishes.images.classes, count) and not wishes.force:
        tried = "; ".join(
            f"{c.candidate.spec[:60]} with {c.normalisation.text[:40]} {c.accuracy:.0%}" for c in choices[:3]
        )
        raise RobauditError(
            f"{source}: clean accuracy {best.accuracy:.1%} on {count} images is near chance (tried {tried})\n"
            "pass the right --dataset, --arch or --normalise, or --force to go on"
        )
    return best, _told(choices, norms)


def _level(choice: Choice) -> str:
    """Accuracy and, where it is known, mean loss."""
    loss = "" if choice.losses is None else f" and {float(choice.losses.mean()):.3f}"
    return f"{choice.accuracy:.1%}{loss}"


def _told(choices: list[Choice], norms: list[Normalisation]) -> list[str]:
    """How the choice was made, in sentences."""
    best = choices[0]
    notes = [f"clean accuracy {best.accuracy:.1%} on {len(best.right)} images"]
    same = [c for c in choices[1:] if c.candidate.spec == best.candidate.spec]
    other = [c for c in choices[1:] if c.candidate.spec != best.candidate.spec]
    if len(norms) > 1 and same:
        rival = same[0]
        notes.append(
            f"normalisation {best.normalisation.text} chosen by clean accuracy and loss: {_level(best)}, "
            f"next {rival.normalisation.text} {_level(rival)}"
        )
        if best.losses is not None and rival.losses is not None and less_likely(rival, best) < CALLED:
            notes.append("warning: a close call between normalisations; --normalise settles it")
    if other:
        rival = other[0]
        notes.append(
            f"architecture {best.candidate.spec} chosen by clean accuracy and loss: {best.accuracy:.1%}, "
            f"next {rival.candidate.spec} {rival.accuracy:.1%} on {len(rival.right)} images"
        )
        if len(rival.right) >= CLOSE and not worse(rival, best, 1.0):
            notes.append("warning: a close call between architectures; --arch settles it")
    return notes
