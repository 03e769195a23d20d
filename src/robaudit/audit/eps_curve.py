"""Robust accuracy over the radius: under PGD-10, and in a worst case of few passes at each.

PGD-10 runs at every radius, as whoever reports it would. The worst case adds APGD on the difference of logits ratio and
Square's first queries, on what nothing has broken yet: a break at a smaller radius is one at every larger.
"""

from __future__ import annotations

import torch

from robaudit.attacks import ATTACKS, Attack, Examples
from robaudit.attacks.state import take
from robaudit.audit.session import Session
from robaudit.engine import Engine
from robaudit.evidence import Outcome
from robaudit.plan import AuditPlan, Budget, ThreatModel

#: Examples that a curve is measured on at most, the first of the audit.
CURVE_EXAMPLES = 200
#: Steps of APGD and queries of Square at each radius.
_SHORT = Budget(apgd_steps=20, square_queries=100)


def measure_curve(session: Session) -> None:
    """Keep the curve of the plan's radii in the evidence, if it asks for one that is not there yet."""
    plan, ranks = session.plan, session.ranks
    known = len(session.sync())
    if not plan.curve or not known or ranks.agree(bool(session.file.header().eps_curve)):
        return
    places = torch.arange(min(CURVE_EXAMPLES, known))
    correct = places[session.correct[places]]
    mine = ranks.share(correct)
    session.progress.begin("eps-curve", len(mine) * len(plan.curve))
    examples = session.examples(mine)
    alive = torch.ones(len(mine), dtype=torch.bool)
    counts = []
    for eps in plan.curve:
        at = AuditPlan(ThreatModel(plan.threat.norm, eps), seed=plan.seed, budget=_SHORT)
        exact = session.engine(session.whole.exact, at.threat)
        pgd = _standing(exact, ATTACKS["pgd10"](at), examples)
        alive &= pgd
        engine = session.engine(session.search, at.threat)
        for name in ("apgd-dlr", "square"):
            rows = alive.nonzero().squeeze(1)
            alive[rows] = _standing(engine, ATTACKS[name](at), take(examples, rows))
        counts.append((int(pgd.sum()), int(alive.sum())))
        session.progress.advance("eps-curve", len(mine), len(mine) - int(alive.sum()), 0)
    session.progress.end("eps-curve")
    parts = ranks.gather(counts)
    if not ranks.first:
        return
    standing = torch.tensor(parts).sum(0)  # (radii, 2), of all ranks
    session.file.update(
        eps_curve={
            "radii": list(plan.curve),
            "examples": len(places),
            "correct": len(correct),
            "pgd10": standing[:, 0].tolist(),
            "worst": standing[:, 1].tolist(),
        }
    )


def _standing(engine: Engine, attack: Attack, examples: Examples) -> torch.Tensor:
    """(n,) bool: not broken by `attack`."""
    standing = torch.ones(len(examples), dtype=torch.bool)
    engine.run(attack, examples, lambda r: standing.__setitem__(r.rows, r.outcome != int(Outcome.BROKEN)))
    return standing
