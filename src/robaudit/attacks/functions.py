"""The attacks as plain functions: a model, images and labels in, adversarial images out.

    x_adv = robaudit.attacks.apgd(model, x, y, eps=8 / 255)

The model maps images (N, C, H, W) in [0, 1] to logits (N, K) and is in evaluation mode. What comes back is sealed in
the ball and [0, 1] in float32. Draws depend on the seed and on an image's place among `x`, never on `batch_size`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.apgd import APGD
from robaudit.attacks.apgd_l1 import APGDL1
from robaudit.attacks.arguments import check_classes, check_inputs, check_numbers, clean_logits
from robaudit.attacks.fab import FAB, NearestFAB
from robaudit.attacks.objectives import Model, forward, misclassified
from robaudit.attacks.pgd import PGD
from robaudit.attacks.square import Square
from robaudit.attacks.state import Attack, Examples, take
from robaudit.evidence import seal
from robaudit.plan import ThreatModel, threat_model

#: PGD's step at eps 8/255 is 2/255 (Li et al., Appendix B), and in proportion elsewhere.
PGD_STEP = 0.25


def pgd(  # noqa: PLR0913
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | str,
    norm: str = "Linf",
    steps: int = 10,
    step_size: float | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """PGD on the cross-entropy from a random start in the ball (https://arxiv.org/abs/1706.06083).

    Args:
        model: images to logits.
        x: (N, C, H, W), floats in [0, 1].
        y: (N,), class indices.
        eps: the radius; `8/255` as text too.
        norm: Linf, L2 or L1.
        steps: gradient steps.
        step_size: of each; a quarter of eps by default.
        seed: of the start.
        batch_size: images at once; all by default.

    Returns:
        (N, C, H, W) like `x` (float32 where that is in 16 bits): the last iterate of every image, whether it fools the
        model or not.

    Raises:
        RobauditError: images or labels that are none, or a model in training mode.
        ValueError: a bad eps, norm, number of steps or size of them.

    """
    threat = threat_model(norm, eps)
    check_numbers(seed, steps=steps)
    if step_size is not None and not step_size > 0:
        raise ValueError(f"step_size {step_size!r} must be above 0")
    size = PGD_STEP * threat.eps if step_size is None else step_size
    attack = PGD(threat.norm, threat.eps, size, steps=steps, seed=seed)
    return _attacked(attack, model, x, y, threat, batch_size)


def apgd(  # noqa: PLR0913
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | str,
    norm: str = "Linf",
    loss: Literal["ce", "dlr"] = "ce",
    steps: int = 100,
    restarts: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """Auto-PGD (https://arxiv.org/abs/2003.01690) on the cross-entropy or the difference of logits ratio.

    Args, errors: as `pgd`; `loss` is `ce` or `dlr`, `restarts` are random starts.

    Returns:
        like `x`: an adversarial image where one was found, else the one of the highest loss; what is misclassified to
        begin with is left as it is.

    """
    if loss not in ("ce", "dlr"):
        raise ValueError(f"loss '{loss}' is not known; use ce or dlr, or apgd_targeted")
    threat = threat_model(norm, eps)
    check_numbers(seed, steps=steps, restarts=restarts)
    attack = apgd_class(threat.norm)(
        threat.norm, threat.eps, loss=loss, steps=steps, restarts=restarts, seed=seed, name=f"apgd-{loss}"
    )
    return _attacked(attack, model, x, y, threat, batch_size)


def apgd_targeted(  # noqa: PLR0913
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | str,
    norm: str = "Linf",
    targets: int = 9,
    steps: int = 100,
    restarts: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """Auto-PGD on the targeted difference of logits ratio, at the `targets` likeliest other classes in turn.

    Args, returns, errors: as `apgd`.
    """
    threat = threat_model(norm, eps)
    check_numbers(seed, steps=steps, restarts=restarts, targets=targets)
    attack = apgd_class(threat.norm)(
        threat.norm,
        threat.eps,
        "dlr-targeted",
        steps,
        targets=targets,
        restarts=restarts,
        seed=seed,
        name="apgd-t",
    )
    return _attacked(attack, model, x, y, threat, batch_size)


def fab(  # noqa: PLR0913
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | str,
    norm: str = "Linf",
    targeted: bool = True,
    targets: int = 9,
    steps: int = 100,
    restarts: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """FAB (https://arxiv.org/abs/1907.02044): the nearest boundary, of each of the `targets` likeliest classes in turn.

    Args, errors: as `pgd`; with `targeted` False every step goes to whichever of these classes is nearest.

    Returns:
        like `x`: an adversarial image where one was found within eps, else the image as it was.

    """
    threat = threat_model(norm, eps)
    check_numbers(seed, steps=steps, restarts=restarts, targets=targets)
    kind = FAB if targeted else NearestFAB
    attack = kind(threat.norm, threat.eps, steps=steps, targets=targets, restarts=restarts, seed=seed)
    return _attacked(attack, model, x, y, threat, batch_size)


def square(  # noqa: PLR0913
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | str,
    norm: str = "Linf",
    queries: int = 5000,
    restarts: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """Square Attack (https://arxiv.org/abs/1912.00049): random search on the margin, without gradients.

    Args, returns, errors: as `apgd`; `queries` a restart.
    """
    threat = threat_model(norm, eps)
    check_numbers(seed, queries=queries, restarts=restarts)
    attack = Square(threat.norm, threat.eps, queries=queries, restarts=restarts, seed=seed)
    return _attacked(attack, model, x, y, threat, batch_size)


def apgd_class(norm: str) -> type[APGD]:
    """The form of APGD for a norm."""
    return APGDL1 if norm == "L1" else APGD


def _attacked(
    attack: Attack, model: Model, x: Tensor, y: Tensor, threat: ThreatModel, batch_size: int | None
) -> Tensor:
    """What `attack` makes of `x`, in batches."""
    check_inputs(model, x, y, batch_size)
    with _own_modes():
        clean, ids = x.detach().clone().float(), torch.arange(len(x), device=x.device)
        wanted = torch.promote_types(
            x.dtype, torch.float32
        )  # a break that is rounded to fewer may leave the ball
        parts = []
        for rows in ids.split(batch_size or max(len(x), 1)):
            labels = y.detach()[rows].to(x.device).long()
            logits = clean_logits(model, clean[rows])
            check_classes(logits, labels)
            parts.append(_batch(attack, model, Examples(clean[rows], labels, rows, logits), threat))
        return torch.cat(parts).to(wanted) if parts else x.detach().clone()


def _batch(attack: Attack, model: Model, examples: Examples, threat: ThreatModel) -> Tensor:
    """One run after the other on what is not broken yet; the last iterate of all of them for PGD."""
    found = examples.x.clone()
    usual = isinstance(attack, PGD)
    left = torch.ones_like(examples.y, dtype=torch.bool)
    if not usual:
        left &= ~misclassified(examples.logits, examples.y)
    for run in range(attack.runs(examples.logits.shape[1])):
        rows = left.nonzero().squeeze(1)
        if not len(rows):
            break
        state = attack.start(take(examples, rows), torch.full_like(rows, run))
        while len(rows):
            state = attack.step(model, state, attack.tries)
            broken = _breaks(model, state, threat, found, rows)
            left[rows[broken]] = False
            over = state.finished & ~broken
            best = state.candidate if usual else getattr(state, "x_best", state.x)
            found[rows[over]] = _sealed(best[over], state.x[over], threat)
            stay = (~(broken | over)).nonzero().squeeze(1)
            rows, state = rows[stay], take(state, stay)
    return found


def _breaks(model: Model, state: object, threat: ThreatModel, found: Tensor, rows: Tensor) -> Tensor:
    """(n,) bool: the slots whose candidate, sealed, fools the model; it is put into `found` at `rows`."""
    fooled: Tensor = state.fooled.clone()  # type: ignore[attr-defined]
    asked = fooled.nonzero().squeeze(1)
    if len(asked):
        points = _sealed(state.candidate[asked], state.x[asked], threat)  # type: ignore[attr-defined]
        stands = misclassified(forward(model, points), state.y[asked])  # type: ignore[attr-defined]
        found[rows[asked[stands]]] = points[stands]
        fooled[asked] = stands
    return fooled


def _sealed(x_adv: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    if not len(x):
        return x
    sealed = seal(x_adv.float().cpu().numpy(), x.float().cpu().numpy(), threat)
    return torch.from_numpy(sealed).to(x.device)


@contextmanager
def _own_modes() -> Iterator[None]:
    """Gradients and float32, whatever mode the caller stands in."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        yield
