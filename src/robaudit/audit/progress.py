"""How an audit tells how far it is; the command line draws it, a library user may pass their own."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of every stage: an attack on a number of examples."""

    def begin(self, stage: str, total: int) -> None:
        """`stage` is about to work on `total` examples."""
        ...

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        """`examples` more are finished, `broken` of them broken, at the cost of `passes` model passes."""
        ...

    def end(self, stage: str) -> None:
        """`stage` is finished."""
        ...

    def note(self, text: str) -> None:
        """Something worth saying at once: a sentence."""
        ...


class Silent:
    """Says nothing."""

    def begin(self, stage: str, total: int) -> None:
        """Nothing."""

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        """Nothing."""

    def end(self, stage: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
