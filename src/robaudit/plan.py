"""What is to be audited and how: the threat model, the attacks' budgets, the seed and the bounds.

Everything here is frozen plain data: it is stored in the evidence file, and a resumed audit must be given
the same plan. Bad values are refused at birth with a `ValueError` that begins with the offending value.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from robaudit.spelling import unknown

Norm = Literal["Linf", "L2"]
Examples = Literal["auto", "all"]
Engine = Literal["robaudit", "reference"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]

#: The attacks whose worst case is `autoattack` (Croce & Hein 2020, https://arxiv.org/abs/2003.01690).
AUTOATTACK: tuple[str, ...] = ("apgd-ce", "apgd-t", "fab-t", "square")
#: Every name that `--attacks` takes.
ATTACK_NAMES: tuple[str, ...] = ("pgd10", "apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square")
#: The audit of the paper: the usual white-box test, then AutoAttack's four, cheapest evidence first.
STANDARD_ATTACKS: tuple[str, ...] = ("pgd10", "square", "apgd-ce", "apgd-t", "fab-t")

#: What people call a row of the table, or a gap.
TITLES: dict[str, str] = {
    "clean": "Clean",
    "pgd10": "PGD-10",
    "apgd-ce": "APGD-CE",
    "apgd-dlr": "APGD-DLR",
    "apgd-t": "APGD-T",
    "fab-t": "FAB-T",
    "square": "Square",
    "autoattack": "AutoAttack",
    "square-scout": "Square's first queries",
    "pgd10-square": "PGD-10 − Square",
    "pgd10-autoattack": "PGD-10 − AutoAttack",
}


def title(name: str) -> str:
    """What people call an attack, a row of the table or a gap; a name of a later version as it stands."""
    return TITLES.get(name, name)


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


@dataclass(frozen=True)
class ThreatModel:
    """The ball of allowed perturbations: `norm` in {Linf, L2}, radius `eps` in [0, 1] pixel units."""

    norm: Norm
    eps: float

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise ValueError(unknown("norm", self.norm, get_args(Norm)))
        if self.norm == "Linf" and not 0 < self.eps <= 1:
            hint = f"; did you mean {self.eps:g}/255?" if 1 < self.eps <= 255 else ""
            raise ValueError(f"eps {self.eps:g} must be in (0, 1], inputs being in [0, 1]{hint}")
        if self.norm == "L2" and not 0 < self.eps <= 100:
            hint = f"; did you mean {self.eps:g}/255?" if self.eps > 100 else ""
            raise ValueError(f"eps {self.eps:g} must be in (0, 100] for the L2 norm{hint}")


@dataclass(frozen=True)
class Budget:
    """How long each attack tries on one example; the defaults are the standard AutoAttack's."""

    pgd_steps: int = 10
    apgd_steps: int = 100
    fab_steps: int = 100
    targets: int = 9
    square_queries: int = 5000
    restarts: int = 1

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{item.name} {value} must be a whole number of at least 1")


@dataclass(frozen=True)
class Bounds:
    """The gaps of robust accuracy at which robustness counts as overestimated, as fractions.

    `pgd_square` is the paper's criterion (Li et al., Table 2: 8 points). `pgd_autoattack` sits above the
    3.4 to 7.7 points that ordinary TRADES and MART models show.
    """

    pgd_square: float = 0.08
    pgd_autoattack: float = 0.10

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if not 0 < value < 1:
                raise ValueError(
                    f"{item.name} bound {value:g} must be in (0, 1), for example 0.08 for 8 points"
                )


#: Which parts of the budget each attack spends.
_SPENDS: dict[str, tuple[str, ...]] = {
    "pgd10": ("pgd_steps",),
    "apgd-ce": ("apgd_steps",),
    "apgd-dlr": ("apgd_steps",),
    "apgd-t": ("apgd_steps", "targets"),
    "fab-t": ("fab_steps", "targets"),
    "square": ("square_queries",),
}
#: `AuditPlan.eot` where the number is chosen by a measurement when the audit begins.
AUTO_DRAWS = 0
_BUDGET_FLAGS = tuple(item.name for item in dataclasses.fields(Budget))
_BOUND_FLAGS = {"square_bound": "pgd_square", "autoattack_bound": "pgd_autoattack"}


@dataclass(frozen=True)
class AuditPlan:
    """One audit, fully determined: the same plan on the same model and data gives the same outcomes.

    `eot` above 1: the classifier under audit is the mean of a randomised model's logits over this many draws. An audit
    that is asked for with `AUTO_DRAWS` chooses the number, and its evidence holds it.
    """

    threat: ThreatModel
    attacks: tuple[str, ...] = STANDARD_ATTACKS
    seed: int = 0
    confidence: float = 0.99
    examples: Examples = "auto"
    limit: int | None = None
    engine: Engine = "robaudit"
    precision: Precision = "auto"
    budget: Budget = field(default_factory=Budget)
    bounds: Bounds = field(default_factory=Bounds)
    eot: int = 1

    def __post_init__(self) -> None:
        strange = [name for name in self.attacks if name not in ATTACK_NAMES]
        if strange or not self.attacks:
            raise ValueError(unknown("attack", " ".join(strange), ATTACK_NAMES))
        if len(set(self.attacks)) != len(self.attacks):
            raise ValueError(f"attacks {', '.join(self.attacks)} name one twice; name each once")
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence {self.confidence:g} must be in [0.5, 1), for example 0.99")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit {self.limit} must be at least 1 example")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed {self.seed} must be in [0, 2^63)")
        if not isinstance(self.eot, int) or not (self.eot == AUTO_DRAWS or 1 <= self.eot <= 10_000):
            raise ValueError(f"eot {self.eot} must be a whole number from 1 to 10000, for example 20")
        if self.examples not in get_args(Examples):
            raise ValueError(unknown("examples", self.examples, get_args(Examples)))
        if self.precision not in get_args(Precision):
            raise ValueError(unknown("precision", self.precision, get_args(Precision)))
        if self.engine not in get_args(Engine):
            raise ValueError(unknown("engine", self.engine, get_args(Engine)))

    @classmethod
    def from_flags(cls, threat: ThreatModel, **flags: Any) -> Self:
        """The plan of settings under the names of `robaudit check`'s flags, with the defaults of what is not given.

        Args:
            threat: what `--norm` and `--eps` say.
            flags: `attacks` (a list, or names separated by commas), `pgd_steps`, `square_bound` and so on.

        Raises:
            ValueError: a bad value.

        """
        budget = {name: flags.pop(name) for name in _BUDGET_FLAGS if name in flags}
        bounds = {field: flags.pop(name) for name, field in _BOUND_FLAGS.items() if name in flags}
        attacks = flags.pop("attacks", STANDARD_ATTACKS)
        names = (name.strip() for name in attacks.split(",")) if isinstance(attacks, str) else attacks
        return cls(threat, tuple(names), budget=Budget(**budget), bounds=Bounds(**bounds), **flags)

    def reduced(self, classes: int) -> tuple[str, ...]:
        """The attacks that get less than the standard budget, and with one of its four `autoattack`.

        Args:
            classes: of the data; there are no more targets than other classes.

        """
        usual, own = Budget(), self.budget
        short = {
            item.name
            for item in dataclasses.fields(Budget)
            if getattr(own, item.name) < getattr(usual, item.name)
        }
        if own.targets >= classes - 1:
            short.discard("targets")
        found = tuple(name for name in self.attacks if short & set(_SPENDS[name]))
        return (*found, "autoattack") if set(found) & set(AUTOATTACK) else found

    def title(self, name: str, classes: int) -> str:
        """`title` with what this plan changes: PGD-20, AutoAttack (reduced).

        Args:
            name: of an attack, `clean`, `autoattack` or a gap.
            classes: of the data.

        """
        pgd = f"PGD-{self.budget.pgd_steps}"
        if name == "pgd10":
            return pgd
        first, gap, second = name.partition("pgd10-")
        if gap and not first:
            return f"{pgd} − {self.title(second, classes)}"
        return f"{title(name)} (reduced)" if name in self.reduced(classes) else title(name)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data, for the evidence file."""
        return dataclasses.asdict(self) | {"attacks": list(self.attacks)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The plan that `to_dict` wrote.

        Raises:
            ValueError: a field is missing, unknown or has a bad value.

        """
        try:
            return cls(
                **data
                | {
                    "threat": ThreatModel(**data["threat"]),
                    "budget": Budget(**data["budget"]),
                    "bounds": Bounds(**data["bounds"]),
                    "attacks": tuple(data["attacks"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"plan does not fit this version of robaudit: {error}") from error
