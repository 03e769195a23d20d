"""What lies between `AutoAttack` and an audit: the checks before it, the log, and the images out of the evidence."""

from __future__ import annotations

import copy
import dis
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robaudit.audit import Silent, audit, preflight
from robaudit.errors import RobauditError
from robaudit.evidence import Evidence, EvidenceFile, Outcome, WitnessRow, adversarial_images, one_each
from robaudit.fast import generators
from robaudit.gradients import input_gradient
from robaudit.inputs import Classifier, Images
from robaudit.plan import AuditPlan, title
from robaudit.verdict import accuracy

#: The package for which a script was written: one returns images, the other those and labels.
Style = Literal["autoattack", "pyautoattack", "either"]
#: What the reference gets wrong in silence or with a warning: finding, and what is said.
_REFUSED = {
    "probabilities": "its outputs are probabilities; return logits, for behind a softmax gradients vanish",
    "randomised-output": "the same input gives other outputs; switch off what is random, or pass version='rand'",
    "stateful-output": "the same input gives another output after other calls; freeze what changes",
    "batch-dependent-output": "an example's output depends on the others in its batch; use model.eval()",
    "nonfinite-output": "its outputs are not finite",
}
#: Images at whose gradients the log looks before the attacks.
_LOOKED_AT = 64
#: Square's breaks among what the gradients' attacks left, from which the log warns: their number and share.
_DOUBTFUL_BREAKS, _DOUBTFUL_SHARE = 2, 0.002
#: Outputs that differ by more than this share of their spread are not rounding.
_ROUNDING = 1e-3


class Function(nn.Module):
    """A model that is a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        if not callable(function):
            raise TypeError(
                f"model is of type {type(function).__name__}; expected an nn.Module or a function"
            )
        owner = getattr(function, "__self__", None)
        self.owner = owner if isinstance(owner, nn.Module) else None
        self._function = function  # a copy's is bound to the copy of its owner

    def forward(self, x: Tensor) -> Tensor:
        """What the function says."""
        return self._function(x)


class WithLabels(Tensor):
    """Adversarial images that unpack as `x_adv, y_adv`, as pyautoattack's result does, and otherwise are a tensor."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    labels: Tensor
    always: bool

    def __iter__(self) -> Iterator[Tensor]:
        images = self.as_subclass(Tensor)
        return iter((images, self.labels) if self.always or _unpacked_into_two() else images)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.as_subclass(Tensor).__reduce_ex__(protocol)

    def __deepcopy__(self, memo: Any) -> Any:
        return copy.deepcopy(self.as_subclass(Tensor), memo)


def _unpacked_into_two() -> bool:
    """Whether whoever iterates is an assignment to two names."""
    caller = sys._getframe(2)
    code, at = caller.f_code.co_code, caller.f_lasti
    return tuple(code[at : at + 2]) == (dis.opmap["UNPACK_SEQUENCE"], 2)


def returned(x_adv: Tensor, y_adv: Tensor, labels: bool | None, *, style: Style) -> Any:
    """The images, or a tuple of them and what the model calls each, or what is both.

    Args:
        x_adv: (N, C, H, W).
        y_adv: (N,).
        labels: whether both are asked for; None where that is not said.
        style: the package whose script asks, as far as its arguments tell.

    """
    if labels:
        return x_adv, y_adv
    if labels is not None or style == "autoattack":
        return x_adv
    both = x_adv.as_subclass(WithLabels)
    both.labels, both.always = y_adv, style == "pyautoattack"
    return both


class Log:
    """Lines to standard output and to a file.

    Raises:
        RobauditError: the file cannot be written.

    """

    def __init__(self, path: str | PathLike[str] | None) -> None:
        self._path = None if path is None else Path(fspath(path))
        self.write([], shown=False)

    def write(self, lines: Sequence[str], *, shown: bool) -> None:
        """Add `lines`."""
        if shown:
            for line in lines:
                print(line)
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            raise RobauditError(
                f"{self._path}: cannot be written ({error.strerror}); choose another log_path"
            ) from error


class _LoggedProgress(Silent):
    """Says what each attack broke as it ends."""

    def __init__(self, say: Callable[[Sequence[str]], None]) -> None:
        self._say, self._counts = say, [0, 0]

    def begin(self, stage: str, total: int) -> None:
        self._counts = [total, 0]

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        self._counts[1] += broken

    def end(self, stage: str) -> None:
        total, broken = self._counts
        self._say([f"{title(stage)} - {broken} out of {total} successfully perturbed"])


def refuse_training_mode(model: nn.Module, x: Tensor) -> None:
    """Nothing, unless `model` answers otherwise than in evaluation mode; it is left as it was.

    Args:
        model: from images to logits.
        x: (n, C, H, W), a few images.

    Raises:
        RobauditError: it is in training mode, and that matters.

    """
    if not any(module.training for module in model.modules()):
        return
    try:
        answers = []
        for form in (copy.deepcopy(model), copy.deepcopy(model).eval()):
            with generators(0), torch.no_grad():
                answers.append(form(x.to(next(model.parameters(), x).device)))
        here, there = answers
    except Exception:  # what cannot be copied or run is named by whoever wants to audit it
        return
    spread = float(there.amax() - there.amin())
    if not float((here - there).abs().amax()) <= _ROUNDING * max(spread, 1e-12):
        raise RobauditError(
            f"<{type(model).__name__}>: is in training mode and answers otherwise in evaluation mode; "
            "call model.eval()"
        )


def audited(
    classifier: Classifier,
    images: Images,
    plan: AuditPlan,
    path: Path,
    device: str,
    say: Callable[[Sequence[str]], None],
) -> Found:
    """The audit of `plan` into `path`, and what it found.

    Raises:
        RobauditError: a model that no attack tells anything about, or `path` is of another run.

    """
    if plan.version != "rand" and plan.eot == 1:
        for item in preflight(classifier.to(device), images, torch.device(device)):
            if item.code in _REFUSED:
                raise RobauditError(f"{classifier.info.path}: {_REFUSED[item.code]}")
    say(_about_gradients(classifier.to(device), images.float(slice(0, _LOOKED_AT)).to(device), images.labels))
    evidence = audit(
        classifier, images, plan, path=path, device=device, progress=_LoggedProgress(say), force=True
    )
    given = dict(zip(images.ids.tolist(), images.labels.tolist(), strict=True))
    if dict(zip(evidence.ids.tolist(), evidence.labels.tolist(), strict=True)) != given:
        raise RobauditError(f"{path}: is of other images or labels; choose another state_path")
    with EvidenceFile.open(path) as file:
        return Found(evidence, tuple(file.witnesses()))


def _about_gradients(model: nn.Module, x: Tensor, labels: Tensor) -> list[str]:
    """A warning where no gradient of the cross-entropy reaches some of the images `x` (n, C, H, W)."""
    x, y = x.requires_grad_(), labels[: len(x)].to(x.device)
    with torch.enable_grad(), generators(0):
        gradient = input_gradient(F.cross_entropy(model(x).float(), y), x)
    none = int((gradient.flatten(1).abs().amax(1) == 0).sum())
    if not none:
        return []
    return [
        f"warning: {none} of the first {len(x)} images have a gradient of exactly zero, so that attacks that follow "
        "gradients say little; `robaudit check` says why and what stands up"
    ]


@dataclass(frozen=True)
class Found:
    """What a run found; images are in the order that they were given in."""

    evidence: Evidence
    witnesses: tuple[WitnessRow, ...]

    def lines(self) -> list[str]:
        """What the log says of it: the accuracy after each attack, or of each alone."""
        plan = self.evidence.header.plan
        word = "after" if plan.cascade else "by"
        names = [("clean", "initial accuracy")]
        names += [(name, f"robust accuracy {word} {title(name).upper()}") for name in plan.members]
        names += [("autoattack", "robust accuracy")] if plan.cascade else []
        found = ((words, accuracy(self.evidence, name)) for name, words in names)
        return [f"{words}: {item.value:.2%}" for words, item in found if item] + self._doubts()

    def _doubts(self) -> list[str]:
        """A warning where Square, without gradients, breaks much of what attacks with them left."""
        record = self.evidence.attacks.get("square")
        if record is None or not self.evidence.header.plan.cascade:
            return []
        broken = int((record.outcome == Outcome.BROKEN).sum())
        if broken < _DOUBTFUL_BREAKS or broken <= _DOUBTFUL_SHARE * len(self.evidence):
            return []
        return [
            f"warning: Square broke {broken} examples that the attacks before it left: gradients may be masked; "
            "`robaudit check` says whether they are"
        ]

    def worst(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Of each image the first adversarial one, and what the model calls it; see `by`."""
        return self._filled(one_each(self.witnesses), x, y)

    def by(self, attack: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The adversarial images that `attack` found, the others as they were, and what the model calls each.

        Args:
            attack: its name.
            x: (N, C, H, W), the images.
            y: (N,), whose type and device the labels get.

        """
        return self._filled([row for row in self.witnesses if row.attack == attack], x, y)

    def _filled(self, rows: list[WitnessRow], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x_adv, evidence = in_full(x), self.evidence
        labels = torch.from_numpy(evidence.predictions.copy())
        places = torch.tensor([row.id for row in rows], dtype=torch.int64)
        x_adv[places.to(x.device)] = torch.from_numpy(adversarial_images(rows, evidence.header)).to(x_adv)
        for row in rows:
            labels[row.id] = row.label if row.prediction is None else row.prediction
        return x_adv, labels.to(y)


def in_full(x: Tensor) -> Tensor:
    """A copy of images, in float32 where they are in 16 bits: rounded to those, a break may leave the ball."""
    return x.detach().clone().to(torch.promote_types(x.dtype, torch.float32))
