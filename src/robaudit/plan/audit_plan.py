"""What is to be audited and how: the threat model, the attacks' budgets, the seed and the bounds.

Everything here is frozen plain data: it is stored in the evidence file, and a resumed audit must be given
the same plan. Bad values are refused at birth with a `ValueError` that begins with the offending value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

from robaudit.plan.budget import SPENDS, Bounds, Budget
from robaudit.plan.names import (
    ATTACK_NAMES,
    HELPED,
    STANDARD_ATTACKS,
    VERSIONS,
    ask,
    check_reference,
    own_budgets,
    title,
    unknown_attack,
)
from robaudit.plan.threat import ThreatModel, check_curve, curve_radii
from robaudit.spelling import unknown

Examples = Literal["auto", "all"]
Engine = Literal["robaudit", "reference"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]


#: The largest confidence that may be asked for, and that rounding leaves below 1.
ASKED_CONFIDENCE, MOST_CONFIDENCE = 0.99999, 1 - 1e-13
#: `AuditPlan.eot` where the number is chosen by a measurement when the audit begins.
AUTO_DRAWS = 0
_BUDGET_FLAGS = tuple(item.name for item in dataclasses.fields(Budget))
_BOUND_FLAGS = {"square_bound": "pgd_square", "autoattack_bound": "pgd_autoattack"}


def precision_wanted(within: float | None, examples: Examples) -> dict[str, Any]:
    """`within` points and `examples` as fields of a plan: 0 points is every example."""
    if within is None or within != 0:
        return {"examples": examples, "within": None if within is None else within / 100}
    return {"examples": "all", "within": None}


@dataclass(frozen=True)
class AuditPlan:
    """One audit, fully determined: the same plan on the same model and data gives the same outcomes.

    `eot` above 1: the classifier under audit is the mean of a randomised model's logits over this many draws. An audit
    that is asked for with `AUTO_DRAWS` chooses the number, and its evidence holds it.
    `within`: AutoAttack's robust accuracy is wanted to this much either way, a fraction; None wants the verdict only.
    `estimate`: so is that of this attack alone, one of `attacks`.
    `version` says which attacks are AutoAttack's: one of `VERSIONS`, or `custom`, all of `attacks` but PGD-10. With
    `cascade` an example is left alone once one of them has broken it, and they run in the order of `attacks`. `own`
    holds the parts of the budget that differ for an attack. `curve` holds the radii, rising, at which robust accuracy
    is measured besides. `helpers` holds the digest of the other model that each attack of `HELPED` searches with.
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
    within: float | None = None
    estimate: str | None = None
    version: str = "standard"
    cascade: bool = False
    own: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    helpers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.version not in (*VERSIONS, "custom"):
            raise ValueError(unknown("version", self.version, VERSIONS))
        check_curve(self.curve, self.threat)
        for name in self.own:
            self.budget_of(name)  # refuses bad parts
        self._check_attacks()
        if not 0.5 <= self.confidence <= MOST_CONFIDENCE:
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
        if self.within is not None:
            self._check_within(self.within)
        if self.estimate is not None:
            self._check_estimate(self.estimate)
        if self.engine not in get_args(Engine):
            raise ValueError(unknown("engine", self.engine, get_args(Engine)))

    def _check_within(self, within: float) -> None:
        if not 0 < within <= 0.5:
            hint = "; for every example use examples all" if within == 0 else ""
            raise ValueError(f"within {100 * within:g} must be above 0 and at most 50 points{hint}")
        missing = sorted(set(STANDARD_ATTACKS) - set(self.attacks))
        if missing:
            raise ValueError(f"within needs every attack of AutoAttack and PGD; add {', '.join(missing)}")
        if self.version != "standard":
            raise ValueError(f"within is for the standard AutoAttack, not for version {self.version}")
        if self.examples == "all":
            raise ValueError("within is for a sample of the examples; it cannot go with examples all")
        if self.cascade:
            raise ValueError("within has an order of its own; it cannot go with a cascade")
        if self.engine != "robaudit":
            raise ValueError(f"within needs the engine robaudit, not {self.engine}")

    def _check_estimate(self, name: str) -> None:
        if self.within is None:
            raise ValueError(f"estimate {name} needs within, for example 1; with examples all it is counted")
        if name == "autoattack":
            raise ValueError(f"estimate {name}: within is about that number; leave estimate out")
        if name not in self.attacks:
            raise ValueError(unknown("estimate", name, self.attacks))

    def _check_attacks(self) -> None:
        for name in HELPED:
            if (name in self.attacks) != (name in self.helpers):
                raise ValueError(f"attack '{name}' comes with --{name}; leave it out of --attacks")
        strange = next((name for name in self.attacks or ("",) if name not in (*ATTACK_NAMES, *HELPED)), None)
        if strange is not None:
            raise ValueError(unknown_attack(strange))
        if len(set(self.attacks)) != len(self.attacks):
            raise ValueError(f"attacks {', '.join(self.attacks)} name one twice; name each once")

    @classmethod
    def from_flags(cls, threat: ThreatModel, **flags: Any) -> Self:
        """The plan of settings under the names of `robaudit check`'s flags, with the defaults of what is not given.

        Args:
            threat: what `--norm` and `--eps` say.
            flags: `attacks` (a list, or names separated by commas), `pgd_steps`, `square_bound`, `within` (points) and
                so on.

        Raises:
            ValueError: a bad value.

        """
        confidence = flags.get("confidence")
        if isinstance(confidence, float) and ASKED_CONFIDENCE < confidence < 1:
            raise ValueError(f"confidence {confidence!r} must be at most {ASKED_CONFIDENCE}")
        flags |= precision_wanted(flags.pop("within", None), flags.get("examples", "auto"))
        budget = Budget(**{name: flags.pop(name) for name in _BUDGET_FLAGS if name in flags})
        bounds = {field: flags.pop(name) for name, field in _BOUND_FLAGS.items() if name in flags}
        attacks, version = flags.pop("attacks", STANDARD_ATTACKS), flags.get("version", "standard")
        if "eps_curve" in flags:
            flags["curve"] = curve_radii(flags.pop("eps_curve"), threat)
        names = [name.strip() for name in attacks.split(",")] if isinstance(attacks, str) else attacks
        if flags["within"] is not None and "autoattack" in names and version == "standard":
            # A sample of it needs its attacks alone, and PGD-10.
            others = (name for name in names if name not in ("autoattack", "pgd10"))
            names = [*STANDARD_ATTACKS, *others]
        asked = ask(names, version)
        if asked.cascade:  # AutoAttack's number is of all examples
            flags["examples"] = "all"
        if VERSIONS[version].draws > 1 and flags.get("eot", AUTO_DRAWS) == AUTO_DRAWS:
            flags["eot"] = VERSIONS[version].draws
        given = {
            item.name for item in dataclasses.fields(Budget) if getattr(budget, item.name) != item.default
        }
        own = {
            name: kept
            for name, parts in own_budgets(version, threat.norm).items()
            if (kept := {part: value for part, value in parts.items() if part not in given})
        }
        bound = Bounds(**bounds)
        plan = cls(
            threat, asked.attacks, budget=budget, bounds=bound, cascade=asked.cascade, own=own, **flags
        )
        if plan.engine == "reference":
            check_reference(plan.attacks, names, version)
        return plan

    def helped(self, helpers: Mapping[str, str]) -> Self:
        """The same with the attacks of `helpers`: the digest of the model that each searches with, by its name."""
        own = tuple(name for name in HELPED if name in helpers and name not in self.attacks)
        return replace(self, attacks=(*self.attacks, *own), helpers=dict(helpers)) if own else self

    def budget_of(self, name: str) -> Budget:
        """What the attack `name` may spend.

        Raises:
            ValueError: `own` holds a bad part of a budget.

        """
        try:
            return replace(self.budget, **self.own.get(name, {}))
        except TypeError as error:
            raise ValueError(f"budget of {name} has an unknown part: {error}") from error

    @property
    def members(self) -> tuple[str, ...]:
        """The attacks whose worst case is `autoattack`, in the order of a cascade."""
        if self.version == "custom":
            return tuple(name for name in self.attacks if name not in ("pgd10", *HELPED))
        return VERSIONS[self.version].attacks

    def before(self, name: str) -> tuple[str, ...]:
        """The attacks of a cascade that an example has survived when `name` begins."""
        order = self.members if self.cascade else ()
        return order[: order.index(name)] if name in order else ()

    def reduced(self, classes: int) -> tuple[str, ...]:
        """The attacks that get less than the standard budget, and with one of its members `autoattack`.

        Args:
            classes: of the data; there are no more targets than other classes.

        """
        usual = replace(self, budget=Budget(), own=own_budgets(self.version, self.threat.norm))

        def short(name: str) -> bool:
            own, most = self.budget_of(name), usual.budget_of(name)
            return any(
                getattr(own, part) < getattr(most, part)
                for part in SPENDS[name]
                if part != "targets" or own.targets < classes - 1
            )

        found = tuple(filter(short, self.attacks))
        return (*found, "autoattack") if set(found) & set(self.members) else found

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
        notes = [self.version] if name == "autoattack" and self.version != "standard" else []
        notes += ["reduced"] if name in self.reduced(classes) else []
        return f"{title(name)} ({', '.join(notes)})" if notes else title(name)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data, for the evidence file."""
        return dataclasses.asdict(self) | {"attacks": list(self.attacks), "curve": list(self.curve)}

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
                    "curve": tuple(data.get("curve", ())),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"plan does not fit this version of robaudit: {error}") from error
