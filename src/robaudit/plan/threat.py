"""The ball of allowed perturbations, and radii as people write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, SupportsFloat, cast, get_args

from robaudit.spelling import meant, unknown

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
    short = len(f"{eps:g}") <= len("0.25")  # 0.2 is no 51/255 to anybody
    return (
        f"{round(steps)}/255" if eps < 0.25 and abs(steps - round(steps)) < 1e-6 and not short else f"{eps:g}"
    )


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


def threat_model(norm: str, eps: float | str) -> ThreatModel:
    """The ball of a norm and a radius, which may be written as `8/255`.

    Raises:
        ValueError: they are not a norm and a radius of it.

    """
    if isinstance(eps, bool) or not isinstance(eps, SupportsFloat | str):
        raise ValueError(f"eps {eps!r} is not a number; write it as 0.031 or 8/255")
    return ThreatModel(norm, parse_fraction(eps) if isinstance(eps, str) else float(eps))  # type: ignore[arg-type]


#: The radii of `--eps-curve auto`, as multiples of the threat model's.
_CURVE = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: Radii of a curve at most.
_MOST_RADII = 20


def curve_radii(given: str | Sequence[float | str] | None, threat: ThreatModel) -> tuple[float, ...]:
    """The radii that `--eps-curve` asks for: `1/255,2/255`, numbers, or `auto`, around the threat model's own.

    Raises:
        ValueError: one is not a number.

    """
    if given is None:
        return ()
    if given == "auto":
        return tuple(radius for factor in _CURVE if (radius := factor * threat.eps) <= _LARGEST[threat.norm])
    parts = given.split(",") if isinstance(given, str) else given
    return tuple(_curve_radius(part) if isinstance(part, str) else float(part) for part in parts)


def _curve_radius(text: str) -> float:
    try:
        return parse_fraction(text)
    except ValueError as error:
        raise ValueError(
            f"eps-curve: '{text}' is not a number{meant(text, ['auto'])}; write 1/255,2/255,4/255 or auto"
        ) from error


def check_curve(radii: Sequence[float], threat: ThreatModel) -> None:
    """Nothing, if these can be the radii of a curve.

    Raises:
        ValueError: they do not rise, one is not a radius of this norm, or there are too many.

    """
    if len(radii) > _MOST_RADII:
        raise ValueError(f"eps-curve has {len(radii)} radii; give at most {_MOST_RADII}")
    for radius in radii:
        ThreatModel(threat.norm, radius)
    falls = next(((a, b) for a, b in pairwise(radii) if a >= b), None)
    if falls:
        raise ValueError(f"eps-curve {falls[0]:g}, {falls[1]:g}: radii must rise; write the smallest first")
