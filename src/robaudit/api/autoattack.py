"""`robaudit.AutoAttack`: the class of that name of `autoattack` and `pyautoattack`, as a cascade on our engine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.api.arrays import class_indices
from robaudit.api.attack_settings import AttackSettings, own_parts
from robaudit.api.data import ARRAYS, read
from robaudit.api.entry import in_python, loaded, own_modes, usual_device
from robaudit.api.evaluation import Found, Function, Log, Style, audited, refuse_training_mode, returned
from robaudit.errors import RobauditError
from robaudit.inputs import Images
from robaudit.plan import VERSIONS, AuditPlan, own_budgets, threat_model

#: What `attacks_to_run` may name, in the order of a cascade.
_ORDER = VERSIONS["plus"].attacks
#: What the images are called in messages.
_NAME = "x"


class AutoAttack:
    """AutoAttack (Croce & Hein 2020, https://arxiv.org/abs/2003.01690) under the names of the reference's class.

    An example is left alone once an attack has broken it; a break counts only when its input, sealed inside the ball
    and [0, 1], fools the model in strict float32. Outcomes depend on the seed, never on the batch size.

    Args:
        model: from images in [0, 1] to logits (N, K): a module in evaluation mode, or a function.
        norm: Linf, L2 or L1.
        eps: the radius, in pixel units of [0, 1]; `8/255` as text too.
        seed: of every draw; None is 0.
        verbose: print what happens.
        attacks_to_run: with version `custom`: of apgd-ce, apgd-dlr, apgd-t, square, fab-t and fab.
        version: `standard`, `plus`, `rand` (for randomised models: the mean of their logits over 20 draws) or `custom`.
        device: where to compute; the model's own by default.
        log_path: a file that what is printed is appended to.
        attacks: `attacks_to_run` under pyautoattack's name.

    Attributes:
        attacks_to_run: may be changed before a run.
        apgd, apgd_targeted, fab, square: `AttackSettings`, which may be changed too.

    Raises:
        ValueError: a bad value.

    """

    def __init__(  # noqa: PLR0913, PLR0917  the reference's own order
        self,
        model: nn.Module | Callable[[Tensor], Tensor],
        norm: str = "Linf",
        eps: float | str = 8 / 255,
        seed: int | None = 0,
        verbose: bool = True,
        attacks_to_run: Sequence[str] | None = None,
        version: str = "standard",
        is_tf_model: bool = False,
        device: str | torch.device | None = None,
        log_path: str | PathLike[str] | None = None,
        *,
        attacks: Sequence[str] | None = None,
    ) -> None:
        if is_tf_model:
            raise ValueError("is_tf_model True: robaudit attacks PyTorch models only")
        if version not in (*VERSIONS, "custom"):
            raise ValueError(f"version '{version}' is not known; use {', '.join(VERSIONS)} or custom")
        named = list(attacks_to_run or attacks or ())
        if named and version != "custom":
            raise ValueError(f"attacks_to_run: version {version} has its own; pass version='custom'")
        if not isinstance(seed, int | None) or (seed or 0) < 0:
            raise ValueError(f"seed {seed!r} must be a whole number from 0 on, or None")
        self._threat = threat_model(norm, eps)
        self.model, self.version, self.seed, self.verbose = model, version, seed or 0, verbose
        self.device = device
        self.log = Log(log_path)
        self._style: Style = "either" if attacks is None else "pyautoattack"
        self.apgd, self.apgd_targeted = AttackSettings(), AttackSettings()
        self.fab, self.square = AttackSettings(), AttackSettings()
        self.attacks_to_run = named
        if version != "custom":
            self._set_version()

    def _set_version(self) -> None:
        version, own = VERSIONS[self.version], own_budgets(self.version, self._threat.norm)
        self.attacks_to_run = list(version.attacks)
        self.apgd.eot_iter = version.draws
        self.apgd.n_restarts = own.get("apgd-ce", {}).get("restarts", 1)
        self.fab.n_restarts = own.get("fab", {}).get("restarts", 1)
        self.apgd_targeted.n_target_classes = own.get("apgd-t", {}).get("targets", 9)

    def set_version(self, version: str = "standard") -> None:
        """Take the attacks and settings of `standard`, `plus` or `rand`, as at the beginning."""
        if version not in VERSIONS:
            raise ValueError(f"version '{version}' is not known; use {', '.join(VERSIONS)}")
        self.version = version
        self._set_version()

    def get_logits(self, x: Tensor) -> Tensor:
        """(N, K) of `x` (N, C, H, W)."""
        return self.model(x)

    def get_seed(self) -> int:
        """Of every draw."""
        return self.seed

    @property
    def norm(self) -> str:
        """Linf, L2 or L1; may be set."""
        return self._threat.norm

    @norm.setter
    def norm(self, norm: str) -> None:
        self._threat = threat_model(norm, self.epsilon)

    @property
    def epsilon(self) -> float:
        """The radius; may be set."""
        return self._threat.eps

    @epsilon.setter
    def epsilon(self, eps: float | str) -> None:
        self._threat = threat_model(self.norm, eps)

    def run_standard_evaluation(
        self,
        x_orig: Tensor,
        y_orig: Tensor,
        bs: int | None = None,
        return_labels: bool | None = None,
        state_path: str | PathLike[str] | None = None,
        *,
        batch_size: int | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attack every image.

        Args:
            x_orig: (N, C, H, W), floats in [0, 1].
            y_orig: (N,), class indices.
            bs: at most this many images at once; outcomes do not depend on it.
            return_labels: return what the model calls each, too.
            state_path: an evidence file, which `robaudit verify` reads. An unfinished one of the same run is resumed.
            batch_size: `bs` under pyautoattack's name.

        Returns:
            (N, C, H, W) like `x_orig`, float32 where that is in 16 bits: the adversarial image where one was found,
            else the image as it was. With `return_labels` a tuple of that and the labels (N,). Unless one of `bs` and
            `return_labels` is given, it also unpacks as pyautoattack's result does: `x_adv, y_adv = …`.

        Raises:
            RobauditError: images outside [0, 1] or not floats, labels that are not classes of the model, a model in
                training mode, one whose outputs are probabilities, change from call to call (but for version `rand`)
                or depend on the batch, or a state of another run.

        """
        place = None if state_path is None else Path(fspath(state_path))
        found = self._run(x_orig, y_orig, self._plan(cascade=True), batch_size if bs is None else bs, place)
        self._say(found.lines())
        x_adv, y_adv = found.worst(x_orig, torch.as_tensor(y_orig))
        return returned(x_adv, y_adv, return_labels, style=self._style_of(bs, batch_size))

    def run_standard_evaluation_individual(
        self,
        x_orig: Tensor,
        y_orig: Tensor,
        bs: int | None = None,
        return_labels: bool | None = None,
        *,
        batch_size: int | None = None,
    ) -> dict[str, Any]:
        """Each attack alone on every image: what `run_standard_evaluation` returns, by the attack's name."""
        found = self._run(x_orig, y_orig, self._plan(cascade=False), batch_size if bs is None else bs, None)
        self._say(found.lines())
        style = self._style_of(bs, batch_size)
        return {
            name: returned(*found.by(name, x_orig, torch.as_tensor(y_orig)), return_labels, style=style)
            for name in self.attacks_to_run
        }

    def clean_accuracy(self, x_orig: Tensor, y_orig: Tensor, bs: int = 250) -> float:
        """The share of `x_orig` (N, C, H, W) that the model puts into the classes `y_orig` (N,)."""
        y = class_indices(y_orig, len(x_orig), _NAME)
        at = torch.device(usual_device(self.model, self.device))
        right = 0
        with torch.no_grad():
            for rows in torch.arange(len(x_orig)).split(max(bs, 1)):
                answers = self.model(x_orig[rows].to(at)).argmax(1).cpu()
                right += int((answers == y[rows]).sum())
        self._say([f"clean accuracy: {right / max(len(y), 1):.2%}"])
        return right / max(len(y), 1)

    def _style_of(self, bs: int | None, batch_size: int | None) -> Style:
        """The package that a call was written for."""
        if bs is not None:
            return "autoattack"
        return self._style if batch_size is None else "pyautoattack"

    def _run(self, x: Tensor, y: Tensor, plan: AuditPlan, bs: int | None, place: Path | None) -> Found:
        if bs is not None and (not isinstance(bs, int) or bs < 1):
            raise RobauditError(f"bs {bs!r}: must be a whole number of images, at least 1")
        model = self.model if isinstance(self.model, nn.Module) else Function(self.model)
        with _about_x(), in_python(), own_modes():
            images = _images(x, y)
            self._say([f"using {self.version} version including {', '.join(self.attacks_to_run)}"])
            refuse_training_mode(model, images.float(slice(0, 8)))
            images, classifier = loaded(model, images, {})
            where = usual_device(model, self.device)
            with tempfile.TemporaryDirectory(prefix="robaudit-") as folder:
                path = place or Path(folder) / "state.evidence"
                return audited(classifier, images, plan, path, where, self._say)

    def _plan(self, *, cascade: bool) -> AuditPlan:
        if not self.attacks_to_run:
            raise ValueError(f"attacks_to_run is empty; name some of {', '.join(_ORDER)}")
        unknown = [name for name in self.attacks_to_run if name not in _ORDER]
        if unknown:
            raise ValueError(f"attack '{unknown[0]}' is not known; use {', '.join(_ORDER)}")
        names = tuple(name for name in _ORDER if name in self.attacks_to_run)
        own = own_parts(names, self.apgd, self.apgd_targeted, self.fab, self.square)
        standard = self.version in VERSIONS and (
            set(names) == set(VERSIONS[self.version].attacks) and own == own_budgets(self.version, self.norm)
        )
        version = self.version if standard else "custom"
        return AuditPlan(
            self._threat,
            VERSIONS[version].attacks if standard else names,
            seed=self.seed,
            examples="all",
            eot=self.apgd.eot_iter,
            version=version,
            cascade=cascade,
            own=own,
        )

    def _say(self, lines: Sequence[str]) -> None:
        self.log.write(lines, shown=self.verbose)


@contextmanager
def _about_x() -> Iterator[None]:
    """What is wrong with arrays is wrong with `x`."""
    try:
        yield
    except RobauditError as error:
        text = str(error).replace(ARRAYS, _NAME).replace("another evidence", "another state_path")
        raise RobauditError(text) from error


def _images(x: Tensor, y: Tensor) -> Images:
    """The images and labels in the order that they were given in.

    Raises:
        RobauditError: not floats (N, C, H, W) in [0, 1] with a class index each.

    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"x is of type {type(x).__name__}; expected a tensor of images (N, C, H, W) in [0, 1]"
        )
    if not x.is_floating_point():
        kind = str(x.dtype).removeprefix("torch.")
        raise RobauditError(f"x: images are {kind}; expected floats in [0, 1]: x.float() / 255")
    found = read(x, y, {}, 0)
    order = found.ids.argsort()
    return replace(found, pixels=found.pixels[order], labels=found.labels[order], ids=found.ids[order])
