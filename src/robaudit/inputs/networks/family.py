"""What a family of networks is: how its plans are written and built, and what shapes cannot tell of them.

Prices are of one currency with what images say (`recovery.scoring`): a unit is worth 0.7 standard errors of loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from robaudit.inputs.networks.activations import ACTIVATIONS

#: A plan of any family; a text stands for itself where nothing can be varied (published networks, programs).
Plan = Any
#: The price of what only images can speak for: about three standard errors. What is cheaper is a first guess.
RARE = 4.5


@dataclass(frozen=True)
class Free:
    """Fields that leave no trace in the shapes.

    Attributes:
        name: what it is, for the reader of the table.
        changes: of a plan, (other plan, price of the change); going back to what is usual has a negative price.
        joint: changed together with the activation where nothing is right yet.
        plain: the plan with what is usual, for fields that may make up for another's wrong value.

    """

    name: str
    changes: Callable[[Plan], Iterable[tuple[Plan, float]]]
    joint: bool = False
    plain: Callable[[Plan], Plan] | None = None


def priced(
    name: str,
    prices: Callable[[Plan], Mapping[Any, float]],
    *fields: str,
    joint: bool = False,
    plain: Any = None,
) -> Free:
    """A free field (or several that change together, with tuples as values), its values by price.

    Args:
        name: of the field; fields whose names are not given are this one.
        prices: of a plan, the price of each value; empty where it makes no difference.
        fields: of the plan that a value sets.
        joint: as in `Free`.
        plain: the usual value, where the field may make up for another's wrong value.

    """
    names = fields or (name,)

    def with_value(plan: Plan, value: Any) -> Plan:
        return dataclasses.replace(plan, **dict(zip(names, value if fields else (value,), strict=True)))

    def changes(plan: Plan) -> Iterator[tuple[Plan, float]]:
        own = tuple(getattr(plan, each) for each in names)
        current = own if fields else own[0]
        known = prices(plan)
        for value, price in known.items():
            if value != current:
                yield with_value(plan, value), price - known.get(current, 0.0)

    usual = None if plain is None else lambda plan: with_value(plan, plain) if prices(plan) else plan
    return Free(name, changes, joint, usual)


def flag(
    name: str, price: float = RARE, *, when: Callable[[Plan], Any] = lambda _: True, joint: bool = False
) -> Free:
    """A field that is usually off; on, it costs `price`."""
    return priced(
        name,
        lambda plan: {False: 0.0, True: price} if when(plan) else {},
        joint=joint,
        plain=False if joint else None,
    )


def activations() -> Free:
    """The field `activation`: ReLU, or for its price any other that has no learned slope."""
    prices = {name: 0.0 if name == "relu" else RARE for name in ACTIVATIONS}
    return priced("activation", lambda plan: prices if plan.activation in ACTIVATIONS else {}, plain="relu")


@dataclass(frozen=True)
class Family:
    """One kind of network.

    Attributes:
        plan: the class of its plans.
        parse: the plan that a text stands for; None where the text is of another family.
        text: of a plan, what `parse` reads back.
        build: (plan, classes, channels, side) to the network.
        free: what shapes cannot tell.
        propose: (layers, side) to plans that they may be, without proof: the caller builds and compares.

    """

    plan: type
    parse: Callable[[str], Plan | None]
    text: Callable[[Plan], str]
    build: Callable[[Plan, int, int, int], nn.Module]
    free: tuple[Free, ...] = ()
    propose: Callable[[Sequence[Any], int], Iterable[Plan]] = lambda _layers, _side: ()

    def neighbours(self, plan: Plan) -> Iterator[tuple[Plan, float]]:
        """(plan, price) of what differs in one free field and has the same layers."""
        return ((other, price) for free in self.free for other, price in free.changes(plan) if other != plan)

    def first_guesses(self, plan: Plan) -> list[tuple[Plan, float]]:
        """The plan with every combination of values that are cheaper than `RARE`, and the prices."""
        found = {plan: 0.0}
        for free in self.free:
            for base, cost in list(found.items()):
                for other, price in free.changes(base):
                    if 0 <= price < RARE:
                        found.setdefault(other, cost + price)
        return list(found.items())

    def combinations(self, plan: Plan) -> Iterator[tuple[Plan, float]]:
        """Other activations, each with every value of the joint fields, for where nothing is right yet."""
        joint = [free for free in self.free if free.joint]
        acts = next((free for free in self.free if free.name == "activation"), None)
        bases = [(plan, 0.0), *(acts.changes(plan) if acts else ())]
        for base, cost in bases:
            yield base, cost
            for free in joint:
                yield from ((other, cost + price) for other, price in free.changes(base))

    def plainest(self, plan: Plan) -> tuple[Plan, float]:
        """The plan with what is usual where a wrong value may make up for another's, and its (negative) price."""
        saved = 0.0
        for free in self.free:
            if free.plain:
                plain = free.plain(plan)
                saved += next((price for other, price in free.changes(plan) if other == plain), 0.0)
                plan = plain
        return plan, saved
