"""The ball of allowed perturbations, and radii as people write them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast, get_args

from robaudit.spelling import unknown

Norm = Literal["Linf", "L2", "L1"]
#: What else people call them, in small letters without `_`, `-` and spaces.
_ALSO = {
    "inf": "Linf",
    "linfinity": "Linf",
    "∞": "Linf",
    "l∞": "Linf",
    "2": "L2",
    "euclidean": "L2",
    "1": "L1",
}
#: The largest radius that is not surely a mistake.
_LARGEST = {"Linf": 1.0, "L2": 100.0, "L1": 1e6}


def parse_fraction(text: str) -> float:
    """A number as people write it: `0.031`, `8/255`, `1e-2`.

    Raises:
        ValueError: the text is not a finite number or a fraction of two.

    """
    try:
        numerator, slash, denominator = text.strip().partition("/")
        value = float(numerator) / float(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        value = float("nan")
    if not math.isfinite(value):
        raise ValueError(f"'{text}' is not a number; write it as 0.031 or 8/255")
    return value


def eps_text(eps: float) -> str:
    """A radius as 8/255 where it is one, else as a decimal number."""
    steps = eps * 255
    return f"{round(steps)}/255" if eps < 0.25 and abs(steps - round(steps)) < 1e-6 else f"{eps:g}"


def parse_norm(text: str) -> Norm:
    """A norm as people write it: `Linf`, `linf`, `L_inf`, `l2`, `2` ...

    Raises:
        ValueError: it is none of Linf, L2 and L1.

    """
    bare = str(text).strip().lower().translate({ord(sign): None for sign in "_- "})
    usual = {norm.lower(): norm for norm in get_args(Norm)}
    found = usual.get(bare) or _ALSO.get(bare)
    if found is None:
        raise ValueError(unknown("norm", text, get_args(Norm)))
    return cast("Norm", found)


@dataclass(frozen=True)
class ThreatModel:
    """The ball of allowed perturbations: `norm` in {Linf, L2, L1}, radius `eps` in pixel units of [0, 1]."""

    norm: Norm
    eps: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", parse_norm(self.norm))
        most = _LARGEST[self.norm]
        if not 0 < self.eps <= most:
            hint = f"; did you mean {self.eps:g}/255?" if most < self.eps <= 255 * most else ""
            where = ", inputs being in [0, 1]" if self.norm == "Linf" else f" for the {self.norm} norm"
            raise ValueError(f"eps {self.eps:g} must be in (0, {most:g}]{where}{hint}")
