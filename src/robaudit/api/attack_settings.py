"""What a script may set of one attack of `AutoAttack`, and what that means for a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from robaudit.plan import SPENDS, Budget


@dataclass(slots=True)
class AttackSettings:
    """Of one attack, under the reference's names: `adversary.apgd.n_restarts = 2`."""

    n_restarts: int = 1
    n_iter: int = 100
    n_target_classes: int = 9
    n_queries: int = 5000
    eot_iter: int = 1

    def parts(self) -> dict[str, int]:
        """The same under the names of a `Budget`."""
        return {
            "restarts": self.n_restarts,
            "targets": self.n_target_classes,
            "apgd_steps": self.n_iter,
            "fab_steps": self.n_iter,
            "square_queries": self.n_queries,
        }


def own_parts(
    names: Sequence[str],
    apgd: AttackSettings,
    targeted: AttackSettings,
    fab: AttackSettings,
    square: AttackSettings,
) -> dict[str, dict[str, int]]:
    """The parts of each attack's budget that are not the usual ones, for `AuditPlan.own`.

    Args:
        names: the attacks that are run.
        apgd: of APGD-CE and APGD-DLR.
        targeted: of APGD-T.
        fab: of FAB, and of FAB-T but for its restarts, of which the reference makes one.
        square: of Square.

    """
    settings = {
        "apgd-ce": apgd.parts(),
        "apgd-dlr": apgd.parts(),
        "apgd-t": targeted.parts(),
        "fab": fab.parts(),
        "fab-t": fab.parts() | {"restarts": 1},
        "square": square.parts(),
    }
    usual = {item.name: item.default for item in fields(Budget)}
    found = {
        name: {part: settings[name][part] for part in SPENDS[name] if settings[name][part] != usual[part]}
        for name in names
    }
    return {name: parts for name, parts in found.items() if parts}
