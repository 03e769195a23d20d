"""Every family, and what is asked of a plan of any: its text, its network, its neighbours.

A published network, a program or a user's factory has no plan; its text stands for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from torch import nn

from robaudit.architectures import NETWORKS
from robaudit.errors import RobauditError
from robaudit.inputs.networks import (
    dense,
    fixup,
    mixer,
    mobile,
    residual_family,
    sequential_family,
    transformer,
)
from robaudit.inputs.networks.ensemble import Ensemble
from robaudit.inputs.networks.family import Family, Plan
from robaudit.inputs.networks.published import PUBLISHED
from robaudit.spelling import meant

FAMILIES: tuple[Family, ...] = (
    sequential_family.FAMILY,
    residual_family.FAMILY,
    dense.FAMILY,
    mobile.FAMILY,
    mixer.FAMILY,
    transformer.FAMILY,
    fixup.FAMILY,
)
_BY_PLAN = {family.plan: family for family in FAMILIES}


@dataclass(frozen=True)
class EnsemblePlan:
    """Several networks of one plan that vote."""

    count: int
    member: Plan


def _member(plan: Plan) -> tuple[Plan, Callable[[Plan], Plan]]:
    """The plan of an ensemble's members, else the plan itself, and what makes the whole of another such."""
    if isinstance(plan, EnsemblePlan):
        return plan.member, partial(EnsemblePlan, plan.count)
    return plan, lambda other: other


def family_of(plan: Plan) -> Family | None:
    """The family of a plan (of an ensemble: its members'), None for what can only be named."""
    return _BY_PLAN.get(type(_member(plan)[0]))


def parse(text: str) -> Plan:
    """The plan of a text; the text itself where no family knows it.

    Raises:
        RobauditError: a family's text that cannot be read.

    """
    kind, _, rest = text.partition(":")
    if kind == "ensemble":
        count, _, member = rest.partition("*")
        if not count.isdigit() or not 1 <= int(count) <= 100:
            raise RobauditError(f"{text}: write it as ensemble:3*resnet20")
        return EnsemblePlan(int(count), parse(member))
    return next((plan for family in FAMILIES if (plan := family.parse(text)) is not None), text)


def text_of(plan: Plan) -> str:
    """What `parse` reads back, and `--arch` takes."""
    if isinstance(plan, EnsemblePlan):
        return f"ensemble:{plan.count}*{text_of(plan.member)}"
    family = family_of(plan)
    return family.text(plan) if family else str(plan)


def varied(
    plan: Plan, vary: Callable[[Family, Plan], Iterable[tuple[Plan, float]]]
) -> list[tuple[Plan, float]]:
    """What a method of the plan's family (`neighbours`, `combinations`) gives, for ensembles too."""
    family, (member, whole) = family_of(plan), _member(plan)
    return [(whole(other), price) for other, price in vary(family, member)] if family else []


def plainest(plan: Plan) -> tuple[Plan, float]:
    """The plan with what is usual where a wrong value may make up for another's, and what that saves."""
    family, (member, whole) = family_of(plan), _member(plan)
    other, saved = family.plainest(member) if family else (member, 0.0)
    return whole(other), saved


def activation(plan: Plan) -> str:
    """The (first) activation of a plan, `relu` where none is said."""
    return str(getattr(_member(plan)[0], "activation", "relu"))


def build(plan: Plan, *, classes: int, in_channels: int = 3, image_size: int = 32) -> nn.Module:
    """A network with fresh weights; see `build_architecture`."""
    if isinstance(plan, EnsemblePlan):
        sizes = {"classes": classes, "in_channels": in_channels, "image_size": image_size}
        return Ensemble([build(plan.member, **sizes) for _ in range(plan.count)])
    family = family_of(plan)
    if family is not None:
        return family.build(plan, classes, in_channels, image_size)
    if plan in PUBLISHED:
        return PUBLISHED[plan](classes, in_channels)
    raise RobauditError(
        f"{plan}: no such architecture{meant(str(plan), NAMES)}; `robaudit architectures` lists them, "
        "or pass FILE.py:FACTORY"
    )


#: The names that users are shown and files are compared with.
NAMES = tuple(name for names in NETWORKS.values() for name in names)


def build_architecture(name: str, *, classes: int, in_channels: int = 3, image_size: int = 32) -> nn.Module:
    """A network with fresh weights.

    Args:
        name: a key of `ARCHITECTURES`, `wrn-D-K`, `vggD[_bn]`, `NAME:option=value,...` of a residual
            network, `sequential:WORDS`, `residual:...`.
        classes: outputs.
        in_channels: of the images.
        image_size: their height and width.

    Returns:
        (N, in_channels, image_size, image_size) to logits (N, classes).

    Raises:
        RobauditError: the name is not known or its options do not fit.

    """
    return build(parse(name), classes=classes, in_channels=in_channels, image_size=image_size)


#: Constructors, called with classes=, in_channels=, image_size=.
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    name: partial(build_architecture, name) for name in NAMES
}
