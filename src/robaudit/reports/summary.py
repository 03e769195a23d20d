"""The report as data: what `--json` writes, and what every other report is drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np

from robaudit.escaping import json_text
from robaudit.evidence import SCHEMA, Evidence
from robaudit.reports.eps_curve import eps_curve
from robaudit.reports.shared_table import classes_of, headline, side_by_side, standing_share, title_of
from robaudit.stats import Interval
from robaudit.verdict import INDICATORS, ClaimResult, Verdict, accuracy, gap, gaps, population, rows


def summary(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """JSON-ready; see `docs/json.md` for the fields. Accuracies and gaps are fractions, intervals two-sided."""
    header = evidence.header
    plan = header.plan.to_dict()
    threat = plan.pop("threat")
    reduced = header.plan.reduced(classes_of(evidence))
    return {
        "schema": SCHEMA,
        "verdict": {
            "outcome": verdict.outcome,
            "summary": verdict.summary,
            "causes": [item.to_dict() for item in verdict.causes],
            "confidence": verdict.confidence,
            "decided_after": verdict.decided_after,
        },
        "headline": {"sentence": headline(evidence), **standing_share(evidence)},
        "claim": _claim(evidence, verdict.claim),
        "minimum": _claim(evidence, verdict.minimum),
        "table": side_by_side(evidence),
        "accuracy": {
            name: _interval(found) | {"reduced": name in reduced, "after": list(header.plan.before(name))}
            for name in rows(evidence)
            if (found := accuracy(evidence, name))
        },
        "gap": {name: _interval(found) for name in gaps(evidence) if (found := gap(evidence, name))},
        "eps_curve": eps_curve(evidence),
        "metrics": metrics(evidence),
        "indicators": {name: header.probes.get(name) for name in INDICATORS} if header.probes else {},
        "model": header.model,
        "data": header.data | {"audited": len(evidence)},
        "threat": threat,
        "plan": plan,
        "seed": header.plan.seed,
        "cost": cost(evidence),
        "finished": header.finished,
        "versions": header.versions,
    }


def metrics(evidence: Evidence) -> dict[str, float | None]:
    """Means over the `examples` that PGD-10 was run on; None before there is one."""
    measured = {
        "fosc": evidence.fosc,
        "fosc_normalised": evidence.fosc_normalised,
        "sgcs": evidence.sgcs,
        "zero_gradients": evidence.zero_gradients / (evidence.header.plan.budget.pgd_steps + 1),
    }
    means = {
        name: float(np.mean(values[np.isfinite(values)])) if np.isfinite(values).any() else None
        for name, values in measured.items()
    }
    return means | {"examples": int(np.isfinite(evidence.fosc).sum())}


def cost(evidence: Evidence) -> dict[str, Any]:
    """Model passes, one example each, in all and by attack; wall time.

    `decided` says after how many examples and passes an audit that may stop early had its verdict; what follows are
    the attacks that were left out, on the first examples. `whole` is what every attack alone on the whole split
    would take at the mean cost of the first `measured` examples, which all of them were run on.
    """
    by_attack = {
        name: {"forwards": int(record.forwards.sum()), "backwards": int(record.backwards.sum())}
        for name, record in evidence.attacks.items()
    }
    forwards, backwards = evidence.passes
    total = population(evidence) or len(evidence)
    complete = np.ones(len(evidence), dtype=bool)
    for name in evidence.header.plan.attacks:
        complete &= evidence.reached(name)
    measured = int(complete.sum())
    one_pass, share = evidence.header.plan.eot * measured, total / measured if measured else 0.0
    records = [evidence.attacks[name] for name in evidence.header.plan.attacks if name in evidence.attacks]
    state = evidence.header.early_stopping
    return {
        "forwards": forwards,
        "backwards": backwards,
        "seconds": round(evidence.header.seconds, 2),
        "device": evidence.header.device,
        "precision": evidence.header.precision,
        "by_attack": by_attack,
        "decided": {name: state[name] for name in ("examples", "forwards", "backwards")}
        if "decided" in state
        else None,
        "whole": {
            "examples": total,
            "measured": measured,
            "forwards": round(
                (one_pass + sum(int(item.forwards[complete].sum()) for item in records)) * share
            ),
            "backwards": round(sum(int(item.backwards[complete].sum()) for item in records) * share),
        },
    }


def as_json(evidence: Evidence, verdict: Verdict) -> str:
    """`summary` as a JSON document."""
    return json_text(summary(evidence, verdict))


def _claim(evidence: Evidence, found: ClaimResult | None) -> dict[str, Any] | None:
    if found is None:
        return None
    interval = _interval(found.interval) if found.interval else None
    return {
        "value": found.claim.value,
        "attack": found.claim.attack,
        "title": title_of(evidence, found.claim.attack),
        "outcome": found.outcome,
        "measured": interval,
    }


def _interval(found: Interval) -> dict[str, float | int | str]:
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "method": found.method,
    }
