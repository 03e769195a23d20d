"""Other models that an attack searches with: a differentiable stand-in, or a network whose breaks may transfer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from robaudit.attacks import forward
from robaudit.audit.preflight import first_logits
from robaudit.errors import RobauditError
from robaudit.fast import strict_arithmetic
from robaudit.gradients import input_gradient
from robaudit.inputs import Classifier, module_digest
from robaudit.plan import AuditPlan


class StraightThrough(nn.Module):
    """Answers as one model and has the gradient of another: BPDA (arXiv:1802.00420, Section 4.1)."""

    def __init__(self, model: nn.Module, stand_in: nn.Module) -> None:
        super().__init__()
        self.model, self.stand_in = model, stand_in

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) to logits (n, K)."""
        other: Tensor = self.stand_in(x)
        with torch.no_grad():
            answers: Tensor = self.model(x)
        return other + (answers - other).detach()


def with_helpers(plan: AuditPlan, helpers: Mapping[str, nn.Module]) -> AuditPlan:
    """`plan` with the attacks that search with `helpers`, by the names of `plan.HELPED`.

    Raises:
        RobauditError: the plan's engine has no such attacks.

    """
    if helpers and plan.engine == "reference":
        raise RobauditError(f"{next(iter(helpers))}: the reference engine has no such attack; leave it out")
    return plan.helped({name: module_digest(module) for name, module in helpers.items()})


def helper_notes(helpers: Mapping[str, nn.Module]) -> list[str]:
    """What each helper was, for whoever reads the report."""
    return [
        f"{name}: {helper.info.path}" for name, helper in helpers.items() if isinstance(helper, Classifier)
    ]


def searched_with(helpers: Mapping[str, nn.Module], model: nn.Module, sample: Tensor) -> dict[str, nn.Module]:
    """What the attack of each helper searches with.

    Args:
        helpers: by the attack's name, in evaluation mode.
        model: the one under audit, on the device of `sample`.
        sample: (n, C, H, W), a few images.

    Raises:
        RobauditError: a helper gives logits of another shape, or has no gradient.

    """
    found: dict[str, nn.Module] = {}
    with strict_arithmetic():
        wanted = forward(model, sample).shape
        for name, helper in helpers.items():
            module = helper.to(sample.device).eval().requires_grad_(False)
            x, answers = first_logits(module, sample, sample.device, name)
            given, right = tuple(answers.shape), (len(x), wanted[1])
            if given != right:
                raise RobauditError(
                    f"{name}: gives {given} for {len(x)} images, the model {right}; it must have the same classes"
                )
            if not bool(answers.isfinite().all()):
                raise RobauditError(
                    f"{name}: its logits are not finite on clean images; correct its factory or file"
                )
            gradient = _gradient(module, sample)
            if not bool(gradient.isfinite().all()):
                raise RobauditError(
                    f"{name}: its gradient is not finite on clean images; it must be differentiable"
                )
            if not bool(gradient.any()):
                raise RobauditError(f"{name}: its gradient is zero everywhere; it must be differentiable")
            found[name] = StraightThrough(model, module) if name == "surrogate" else module
    return found


def _gradient(module: nn.Module, sample: Tensor) -> Tensor:
    x = sample.detach().clone().requires_grad_()
    with torch.enable_grad():
        return input_gradient(module(x).float().square().sum(), x)
