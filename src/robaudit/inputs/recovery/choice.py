"""What the user asked for, and the choice among what a model may be."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.data.images import Images
from robaudit.inputs.networks.sequential_family import activates_logits
from robaudit.inputs.normalisation import Normalisation, parse_normalisation, usual_normalisations
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.scoring import Choice, accuracy_gap, loss_gap, same_answers, shape_gap
from robaudit.inputs.recovery.search import choose, choose_behind

#: Images that another structure must have seen for the choice to be called close; another normalisation all.
CLOSE_IMAGES = 48
#: Standard errors of the mean loss between two normalisations, and two structures, below which the choice is close.
CLOSE_NORMALISATION, CLOSE_STRUCTURE = 3.0, 1.0
#: Images, and the accuracy on them once each answer stands for the class that it mostly meets, that show another order.
RENUMBERED_IMAGES, RENUMBERED_ACCURACY = 100, 0.6
#: The same between none and another with the logits' scale free: networks trained against an attack are unsure of
#: images as they are, and surer of the same ones with more contrast.
CLOSE_SHAPE = 2.0
#: Standard deviations (sign test) of accuracy by which another normalisation than the user's is worth a warning.
CLEAR_DEVIATIONS = 2.0


@dataclass(frozen=True)
class ModelRequest:
    """What the user said about the model; None where nothing.

    Attributes:
        arch: `--arch`.
        normalise: `--normalise`.
        key: `--key`.
        images: labelled images to choose by.
        device: where to compute.
        force: load even what is right no more often than chance.
        shape: (C, H, W) of the images where they are not at hand.
        classes: and how many classes they have; 0 where it is not known.
        trust_program: `--trust-program`; nothing in a file or a policy can say so.
        build: whether others' packages may be imported to build what a file names or its shapes are known as.

    """

    arch: str | None = None
    normalise: str | None = None
    key: str | None = None
    images: Images | None = None
    device: str = "cpu"
    force: bool = False
    shape: tuple[int, int, int] | None = None
    classes: int = 0
    trust_program: bool = False
    build: bool = True

    @property
    def image_classes(self) -> int:
        """How many classes the images have; 0 where it is not known."""
        return self.images.classes if self.images else self.classes

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) of the images, as far as it is known."""
        return self.images.shape if self.images else self.shape


def normalisations_to_try(
    request: ModelRequest, stored: Normalisation | None, channels: int
) -> tuple[list[Normalisation], list[str]]:
    """What may stand before the network, and how that is known."""
    if request.normalise:
        return [parse_normalisation(request.normalise, channels)], []
    if stored:
        return [stored], [f"normalisation {stored.text} is stored with the model"]
    if request.images:
        return usual_normalisations(request.images.name, channels, request.images.shape[1]), []
    return [parse_normalisation("none", channels)], [
        "warning: no normalisation in the file and no images to choose by: none used; --normalise sets one"
    ]


def decide(
    options: list[Candidate], norms: list[Normalisation], request: ModelRequest, source: str
) -> tuple[Choice, list[str]]:
    """The choice among candidates, by the images where there are some, and sentences on it.

    Raises:
        RobauditError: none runs, or the best is hardly better than guessing.

    """
    if request.images is None:
        notes = []
        if len(options) > 1 and options[1].price < options[0].price + 1:
            notes = [f"{len(options)} architectures fit; took the likeliest, next {options[1].text}"]
        nothing = torch.zeros(0, dtype=torch.int64)
        return Choice(options[0], norms[0], torch.zeros(0, 1), nothing, 0.0), notes
    try:
        best, choices = _chosen(options, norms, request.images, request)
    except RobauditError as error:
        raise RobauditError(f"{source}: {error}") from error
    if _guesses(best, request.images.classes) and not request.normalise:
        # few images prove little, so what is usual may win beside them, but not where it sees nothing and another does
        best = next((c for c in choices[1:] if not _guesses(c, request.images.classes)), best)
        choices = [best, *(c for c in choices if c is not best)]
    count = len(best)
    if _guesses(best, request.images.classes) and not request.force:
        _refuse_what_is_not_finite(best, source)
        tried = "; ".join(
            f"{c.candidate.text[:60]} with {c.normalisation.text[:40]} {c.accuracy:.0%}" for c in choices[:3]
        )
        order = _another_order(best)
        if best.logits.shape[1] > request.images.classes:
            order = (
                f"it has {best.logits.shape[1]} classes, the data {request.images.classes}: a classes.json in their "
                "folder says which is which; or "
            )
        raise RobauditError(
            f"{source}: clean accuracy {best.accuracy:.1%} on {count} images is near chance (tried {tried})\n"
            f"{order}pass the right --dataset, --arch or --normalise, or --force to go on"
        )
    return best, _notes(best, choices, norms)


def _refuse_what_is_not_finite(choice: Choice, source: str) -> None:
    bad = int((~torch.isfinite(choice.logits).all(1)).sum())
    if 2 * bad > len(choice):
        raise RobauditError(
            f"{source}: its outputs are NaN or infinite on {bad} of {len(choice)} images; return finite logits"
        )


def _another_order(choice: Choice) -> str:
    """What to do where a network knows the images, and calls the classes by other numbers than the data."""
    answers, labels = choice.logits.argmax(1), choice.labels
    together = torch.zeros(int(answers.max()) + 1, int(labels.max()) + 1)
    together.index_put_((answers, labels), torch.ones(len(labels)), accumulate=True)
    knows = float(together.amax(1).sum() / len(labels))
    if len(labels) < RENUMBERED_IMAGES or knows < RENUMBERED_ACCURACY:
        return ""
    return (
        f"with the classes in another order it is right on {knows:.0%}: number the labels as it does, in a folder by a "
        "classes.json; or "
    )


def _guesses(choice: Choice, classes: int) -> bool:
    """Whether it is right hardly more often than a guess."""
    from robaudit.stats import near_chance  # noqa: PLC0415  its scipy takes longer than a small file without images

    labels = torch.bincount(choice.labels, minlength=classes)
    return near_chance(
        int(choice.right.sum()), labels.tolist(), int(choice.logits.argmax(1).unique().numel())
    )


def _chosen(
    options: list[Candidate], norms: list[Normalisation], images: Images, request: ModelRequest
) -> tuple[Choice, list[Choice]]:
    """What is taken, and what images choose where the user says nothing; what the user names is never changed."""
    if request.normalise and not request.arch:
        usual = usual_normalisations(images.name, options[0].in_channels, images.shape[1])
        return choose_behind(norms[0], options, usual, images, request.device)
    choices = choose(options, norms, images, request.device, named=bool(request.arch))
    return choices[0], choices


def _accuracy_and_loss(choice: Choice) -> str:
    """Accuracy and mean loss."""
    return f"{choice.accuracy:.1%} and {choice.loss:.3f}"


def _notes(taken: Choice, choices: list[Choice], norms: list[Normalisation]) -> list[str]:
    """How the choice was made, in sentences."""
    best = choices[0]
    notes = [f"clean accuracy {taken.accuracy:.1%} on {len(taken)} images"]
    rivals = [c for c in choices[1:] if not same_answers(c, best)]  # blue first on grey images, say
    same = [c for c in rivals if c.candidate.plan == best.candidate.plan]
    other = [
        c for c in rivals
        if c.candidate.plan != best.candidate.plan
        and not activates_logits(c.candidate.plan, best.candidate.plan)  # right on the same images always
    ]  # fmt: skip
    if best is not taken and accuracy_gap(taken, best) > CLEAR_DEVIATIONS:
        notes.append(
            f"warning: with normalisation {best.normalisation.text} it is right on {best.accuracy:.1%}: "
            f"is {taken.normalisation.text} what it was trained with?"
        )
    if len(norms) > 1 and same:
        rival = same[0]
        notes.append(
            f"normalisation {best.normalisation.text} chosen by clean accuracy and loss: {_accuracy_and_loss(best)}, "
            f"next {rival.normalisation.text} {_accuracy_and_loss(rival)} on {len(rival)} images"
        )
        seen = [c for c in same if len(c) == len(best)]
        close = rival in seen and loss_gap(rival, best) < CLOSE_NORMALISATION
        if close or any(c.normalisation.text == "none" and shape_gap(c, best) < CLOSE_SHAPE for c in seen):
            notes.append("warning: a close call between normalisations; --normalise settles it")
    if other:
        rival = other[0]
        notes.append(
            f"architecture {best.candidate.text} chosen by clean accuracy and loss: {best.accuracy:.1%}, "
            f"next {rival.candidate.text} {rival.accuracy:.1%} on {len(rival)} images"
        )
        if len(rival) >= CLOSE_IMAGES and loss_gap(rival, best) < CLOSE_STRUCTURE:
            notes.append("warning: a close call between architectures; --arch settles it")
    return notes
