"""The attacks' names, what people call them, and what the names of several stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from robaudit.spelling import meant, unknown

#: The attacks whose worst case is `autoattack` (Croce & Hein 2020, https://arxiv.org/abs/2003.01690).
AUTOATTACK: tuple[str, ...] = ("apgd-ce", "apgd-t", "fab-t", "square")
#: The audit of the paper: the usual white-box test, then AutoAttack's four, cheapest evidence first.
STANDARD_ATTACKS: tuple[str, ...] = ("pgd10", "square", "apgd-ce", "apgd-t", "fab-t")
#: Every name of one attack that `--attacks` takes.
ATTACK_NAMES: tuple[str, ...] = ("pgd10", "apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")
#: Attacks that search with another model's gradient, which a flag of the same name gives.
HELPED: tuple[str, ...] = ("surrogate", "transfer")
#: And of several. `paper`: the columns of Li et al., Table 1, with APGD-T, which AutoAttack needs.
PAPER: tuple[str, ...] = ("pgd10", "square", "apgd-ce", "apgd-dlr", "apgd-t", "fab-t")

#: What people call a row of the table, or a gap.
TITLES: dict[str, str] = {
    "clean": "Clean",
    "pgd10": "PGD-10",
    "apgd-ce": "APGD-CE",
    "apgd-dlr": "APGD-DLR",
    "apgd-t": "APGD-T",
    "fab": "FAB",
    "fab-t": "FAB-T",
    "square": "Square",
    "surrogate": "Surrogate (BPDA)",
    "transfer": "Transfer",
    "autoattack": "AutoAttack",
    "square-scout": "Square's first queries",
    "square-scout-more": "More of Square's queries",
    "square-scout-whole": "All of Square's queries",
    "apgd-t-scout": "APGD-T's first steps",
    "apgd-t-scout-wide": "APGD-T's first steps at more classes",
    "apgd-t-scout-deep": "APGD-T's steps at the likeliest class",
    "apgd-t-scout-every": "APGD-T's first steps at every class",
    "pgd10-square": "PGD-10 − Square",
    "pgd10-autoattack": "PGD-10 − AutoAttack",
    "pgd10-surrogate": "PGD-10 − Surrogate (BPDA)",
    "pgd10-transfer": "PGD-10 − Transfer",
}


def title(name: str) -> str:
    """What people call an attack, a row of the table or a gap; a name of a later version as it stands."""
    return TITLES.get(name, name)


@dataclass(frozen=True)
class Version:
    """One of AutoAttack's versions.

    Attributes:
        attacks: in the order of a cascade: what breaks the most for the fewest passes first.
        own: parts of the budget that differ for an attack.
        draws: of a randomised model, over which its mean is taken; 1 for a model that answers alike.

    """

    attacks: tuple[str, ...]
    own: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    draws: int = 1


_FIVE = {"restarts": 5}
#: As in the reference (https://github.com/fra31/auto-attack, `set_version`).
VERSIONS: dict[str, Version] = {
    "standard": Version(("apgd-ce", "apgd-t", "square", "fab-t")),
    "plus": Version(
        ("apgd-ce", "apgd-dlr", "apgd-t", "square", "fab-t", "fab"),
        {"apgd-ce": _FIVE, "apgd-dlr": _FIVE, "fab": _FIVE},
    ),
    "rand": Version(("apgd-ce", "apgd-dlr"), draws=20),
}
#: In the L1 ball the standard version has more restarts and fewer targets (arXiv:2103.01208, Section 5).
_STANDARD_L1 = {"apgd-ce": _FIVE, "apgd-t": {"targets": 5}}


def own_budgets(version: str, norm: str) -> dict[str, dict[str, int]]:
    """Which parts of the budget a version gives its attacks, by attack."""
    known = VERSIONS.get(version)
    own = known.own if known else {}
    if norm == "L1" and version == "standard":
        own = _STANDARD_L1
    return {name: dict(parts) for name, parts in own.items()}


def unknown_attack(name: str) -> str:
    """The message for a name in `--attacks` that stands for none."""
    near = meant(name, (*ATTACK_NAMES, "autoattack", "paper"))
    return f"attack '{name}' is not known{near}; use {', '.join(ATTACK_NAMES)}, or autoattack or paper for several"


@dataclass(frozen=True)
class Asked:
    """The `attacks` that names stand for, and whether AutoAttack's are a cascade: what is broken is left alone."""

    attacks: tuple[str, ...]
    cascade: bool = False


def ask(names: Sequence[str], version: str = "standard") -> Asked:
    """What `--attacks` and `--version` ask for; names that stand for no attack are left for the plan to refuse.

    Args:
        names: of attacks, `autoattack` (the version's attacks as a cascade) or `paper`.
        version: a key of `VERSIONS`.

    Raises:
        ValueError: no such version, or attacks that a cascade has named beside it.

    """
    if version not in VERSIONS:
        raise ValueError(unknown("version", version, VERSIONS))
    own = VERSIONS[version].attacks
    if tuple(names) == STANDARD_ATTACKS and version != "standard":
        names = ("pgd10", "square", *(name for name in own if name != "square"))
    found: list[str] = []
    for name in names:
        found += {"autoattack": own, "paper": PAPER}.get(name, (name,))
    twice = sorted(set(own) & set(names))
    if "autoattack" in names and ("paper" in names or twice):
        raise ValueError(
            f"attacks {', '.join(names)}: autoattack runs {twice[0] if twice else own[0]} too; leave one out"
        )
    return Asked(tuple(found), "autoattack" in names)


#: What an audit by the reference can run: PGD-10 is our own in any case.
OF_REFERENCE: tuple[str, ...] = ("pgd10", *AUTOATTACK)


def check_reference(attacks: Sequence[str], names: Sequence[str], version: str) -> None:
    """Nothing, if the reference engine has all these attacks.

    Args:
        attacks: of the plan.
        names: what `--attacks` said, of which they came to be.
        version: what `--version` said.

    Raises:
        ValueError: it lacks one.

    """
    lacking = [name for name in attacks if name not in OF_REFERENCE]
    if not lacking:
        return
    named = [name for name in lacking if name in names]
    if named:
        advice = f"leave {', '.join(named)} out of --attacks"
    elif "paper" in names:
        advice = (
            f"write --attacks {','.join(name for name in PAPER if name in OF_REFERENCE)} instead of paper"
        )
    else:
        advice = f"leave out --version {version}"
    raise ValueError(f"{lacking[0]}: the reference engine has only {', '.join(AUTOATTACK)}; {advice}")
