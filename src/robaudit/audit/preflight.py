"""Cheap checks before hours of attack: is this the model, the data and the arithmetic that was meant?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robaudit.attacks import forward
from robaudit.devices import NO_ROOM, driver_failed, first_line, free_memory, out_of_memory
from robaudit.errors import RobauditError
from robaudit.fast import Averaged, generators, strict_arithmetic
from robaudit.inputs import (
    Classifier,
    Images,
    Normalise,
    calibrated_losses,
    standard_errors,
    usual_normalisations,
)
from robaudit.stats import near_chance
from robaudit.verdict import Finding, finding
from robaudit.wording import examples

#: Examples looked at.
SAMPLE_EXAMPLES = 128
#: And of these, at how many a randomised model's mean over many draws is.
AVERAGED_EXAMPLES = 16
#: Two outputs of one input that differ by more than this share of the logits' spread are not rounding.
ROUNDING_SHARE = 1e-3
#: Another normalisation that is better by so much is the right one: 13 of 128 examples.
BETTER_ACCURACY = 0.10
#: Or that is no worse and has half the loss, which this many standard errors prove.
BETTER_LOSS_SHARE, SURE_STANDARD_ERRORS = 0.5, 5.0
#: What is no better on the first of these is not tried on the others.
SCREEN_EXAMPLES = 32


def preflight(
    model: nn.Module, images: Images, device: torch.device, averaged: Averaged | None = None
) -> tuple[Finding, ...]:
    """What is wrong or odd about this model on this data; an empty tuple when nothing is.

    Args:
        model: from inputs in [0, 1] to logits.
        images: at least one.
        device: where the model is.
        averaged: what is audited instead where the model is randomised.

    Raises:
        RobauditError: the model cannot be audited on this data at all.

    """
    count = min(SAMPLE_EXAMPLES, len(images))
    with strict_arithmetic(), generators(0):
        x, logits = first_logits(model, images.float(slice(0, count)), device)
        count = len(x)
        labels = images.labels[:count].to(device)
        check_shape(logits, images)
        found = determinism(model, x, logits)
        if averaged is not None and [item.code for item in found] == ["randomised-output"]:
            few = x[:AVERAGED_EXAMPLES]
            found = determinism(averaged, few, forward(averaged, few)) or [
                finding(
                    "randomised-and-averaged",
                    f"{found[0].message} Audited is the mean of {len(averaged.seeds)} draws.",
                )
            ]
    finite = logits.isfinite().all(1)
    if not bool(finite.all()):
        found.append(
            finding("nonfinite-output", f"{int((~finite).sum())} of {count} clean outputs are not finite.")
        )
    if _looks_like_probabilities(logits):
        found.append(
            finding("probabilities", "The outputs are probabilities (in [0, 1], summing to 1), not logits.")
        )
    accuracy = _accuracy(logits, labels)
    if isinstance(model, Classifier):
        found += _normalisation(model, images, x, labels, accuracy)
    seen = torch.bincount(labels, minlength=images.classes).tolist()
    if near_chance(round(accuracy * count), seen, int(logits.argmax(1).unique().numel())):
        found.append(
            finding(
                "near-chance",
                f"Clean accuracy {100 * accuracy:.1f} % on {examples(count)} is near chance: a guess is right on "
                f"{100 / images.classes:.1f} %, always the commonest class on {100 * max(seen) / count:.1f} %.",
            )
        )
    return tuple(found)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).float().mean())


def _normalisation(
    model: Classifier, images: Images, x: Tensor, labels: Tensor, accuracy: float
) -> list[Finding]:
    """Whether the network would be much better on inputs normalised in another usual way.

    On easy images accuracy hardly depends on it; the loss does, and so does what eps means to the network.
    """
    first = slice(0, SCREEN_EXAMPLES)
    with strict_arithmetic(), generators(0):
        here = forward(model, x)
        now = _losses(here, labels)
        best = accuracy, now, ""
        for other in usual_normalisations(images.name, x.shape[1]):
            normalised = Normalise(other).to(x.device)(x)
            few = forward(model.network, normalised[first])
            if _accuracy(few, labels[first]) <= _accuracy(here[first], labels[first]) and not bool(
                _losses(few, labels[first]).mean() < now[first].mean()
            ):
                continue
            logits = forward(model.network, normalised)
            losses = _losses(logits, labels)
            # On raw bytes a network without biases answers as on any scale; it must be better by far to be named.
            if standard_errors(best[1], losses) > (SURE_STANDARD_ERRORS if other.unusual else 0):
                best = _accuracy(logits, labels), losses, other.text
    found, losses, name = best
    sure = (
        found >= accuracy
        and standard_errors(now, losses) >= SURE_STANDARD_ERRORS
        and losses.mean() < BETTER_LOSS_SHARE * now.mean()
    )
    if not name or not (found >= accuracy + BETTER_ACCURACY or sure):
        return []
    used = f"{100 * accuracy:.1f} % and {float(now.mean()):.2f} with normalisation {model.info.normalisation}"
    better = f"{100 * found:.1f} % and {float(losses.mean()):.2f} with {name}"
    message = f"Clean accuracy and loss on {examples(len(labels))} are {used}, {better}."
    return [finding("wrong-normalisation", message)]


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    return calibrated_losses(logits.cpu(), labels.cpu(), free=False)


def first_logits(
    model: nn.Module, x: Tensor, device: torch.device, name: str = "model"
) -> tuple[Tensor, Tensor]:
    """As many of `x` (n, C, H, W), from the first on, as the device's memory holds at once, there; and their logits.

    Raises:
        RobauditError: the model, called `name` in the message, does not take such images or returns something else
            than a tensor, or not even one image fits.

    """
    try:
        there = x.to(device)
        with torch.no_grad():
            answer: object = model(there)
        if isinstance(answer, Tensor):
            return there, answer.float()
        raise RobauditError(
            f"{name}: returned a {type(answer).__name__}; expected one tensor of logits (N, classes): "
            "wrap it in a module that returns only them"
        )
    except RobauditError:
        raise
    except Exception as error:  # a network of anybody's may raise anything
        if driver_failed(error):
            raise
        if not out_of_memory(error):
            raise RobauditError(
                f"{name}: does not take images of shape {tuple(x.shape[1:])} ({first_line(error):.160}); "
                f"{'check --dataset and --arch' if name == 'model' else f'pass another --{name}'}"
            ) from error
        if len(x) == 1:
            raise RobauditError(NO_ROOM) from error
    free_memory()
    return first_logits(model, x[: len(x) // 2], device, name)


def check_shape(logits: Tensor, images: Images) -> None:
    """Nothing, if `logits` are (n, K) with the K of the images' classes.

    Raises:
        RobauditError: they are not.

    """
    if logits.dim() != 2:
        raise RobauditError(
            f"model: its output has shape {tuple(logits.shape)}, not (examples, classes); "
            "give a factory with --arch that returns the logits"
        )
    classes = logits.shape[1]
    if classes < 2:
        raise RobauditError("model: it has one output; an audit needs logits of at least 2 classes")
    if classes < images.classes:
        raise RobauditError(
            f"model: it has {classes} classes and {images.name} has {images.classes}; check --dataset and --arch"
        )


def determinism(model: nn.Module, x: Tensor, first: Tensor) -> list[Finding]:
    """At most one finding: each cause shows in the comparisons after its own too."""
    again = forward(model, x)
    forward(model, 1 - x)
    later = forward(model, x)
    alone = torch.cat([forward(model, x[k : k + 1]) for k in range(min(8, len(x)))])
    spread = (first.amax(1) - first.amin(1)).median().nan_to_num(1.0).clamp_min(1e-12)

    def differ(a: Tensor, b: Tensor) -> float:
        return float(((a - b).abs() / spread).nan_to_num(0.0).max())

    change = max(differ(first, again), differ(first, later))
    if change > ROUNDING_SHARE:
        # With the generators set alike, a random model repeats itself; one that counts its calls does not.
        with generators(0, model):
            once = forward(model, x)
        with generators(0, model):
            twice = forward(model, x)
        if differ(once, twice) > ROUNDING_SHARE:
            return [finding("stateful-output", "The same input gives another output after other calls.")]
        message = f"The same input gives outputs that differ by {100 * change:.1f} % of the logits' spread."
        return [finding("randomised-output", message)]
    if differ(first[: len(alone)], alone) > ROUNDING_SHARE:
        return [finding("batch-dependent-output", "An example's output depends on the others in its batch.")]
    return []


def _looks_like_probabilities(logits: Tensor) -> bool:
    finite = logits[logits.isfinite().all(1)]
    if not len(finite):
        return False
    sums_to_one = (finite.sum(1) - 1).abs().max() < 1e-3
    return bool(sums_to_one & (finite.min() >= 0) & (finite.max() <= 1))
