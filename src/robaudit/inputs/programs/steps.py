"""A file's graph as steps, each with the names of the values that it takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from robaudit.errors import RobauditError

#: Steps of one graph.
MOST_STEPS = 100_000


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        takes, gives: names; an empty one is of nothing.
        run: from the values that there are to those that it gives, in order.
        changes: whether it overwrites what it takes, so that it matters though nobody takes what it gives.

    """

    takes: tuple[str, ...]
    gives: tuple[str, ...]
    run: Callable[[dict[str, Any]], Iterable[Any]]
    changes: bool = False


def needed(steps: Sequence[Step], wanted: Iterable[str]) -> list[Step]:
    """The steps that the wanted values depend on or may, in order.

    Raises:
        RobauditError: there are too many steps, or a value comes from two.

    """
    given = [name for step in steps for name in step.gives if name]
    if len(steps) > MOST_STEPS:
        raise RobauditError(f"has too many operations (limit {MOST_STEPS:,}); export it again")
    if len(set(given)) < len(given):
        raise RobauditError("gives two values one name; export it again")
    names, kept = set(wanted), []
    for step in reversed(steps):
        if step.changes or not names.isdisjoint(step.gives):
            kept.append(step)
            names.update(filter(None, step.takes))
    return kept[::-1]


def follow(steps: Sequence[Step], values: dict[str, Any], wanted: Sequence[str]) -> list[Any]:
    """The wanted values; each other one is dropped after its last use.

    Raises:
        RobauditError: a step takes what no earlier one gives.
        Exception: whatever the steps raise.

    """
    last = {name: number for number, step in enumerate(steps) for name in step.takes}
    for number, step in enumerate(steps):
        for name in step.takes:
            if name not in values:
                raise RobauditError(f"uses {name[:40]!r} before it is there; export it again")
        values.update(
            (name, value) for name, value in zip(step.gives, step.run(values), strict=False) if name
        )
        for name in {name for name in step.takes if last[name] == number} - set(wanted):
            del values[name]
    return [values[name] for name in wanted]
