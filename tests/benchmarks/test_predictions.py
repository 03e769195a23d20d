"""What a prediction of who breaks would save, on a small audit and on made-up outcomes."""

import numpy as np
import pytest

from robaudit.audit import audit
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel
from tests.shipped import DISTILLED


@pytest.fixture
def predictions():
    import predictions

    return predictions


def test_candidates_are_what_the_short_attacks_leave(predictions, tmp_path):
    images, model = load_images("digits", limit=60, seed=0), load_classifier(str(DISTILLED))
    budget = Budget(apgd_steps=12, fab_steps=3, targets=3, square_queries=200)
    plan = AuditPlan(ThreatModel("Linf", 0.1), budget=budget, examples="all", limit=60)
    evidence = audit(model, images, plan, path=tmp_path / "full")
    after = predictions.recorded(model, images, evidence)
    wide, deep = after.values()
    assert len(wide.margins) == int(evidence.correct.sum())
    assert (deep.margins >= wide.margins).all()
    assert deep.candidates.sum() <= wide.candidates.sum()
    # What the beginning of an attack breaks the whole one breaks.
    assert not (wide.survives & ~wide.candidates).any()
    rows = predictions.rows_of("net", evidence, after, 600)
    assert len(rows) == 2 * len(predictions.WITHIN)
    assert all(row.count("|") == rows[0].count("|") for row in rows)


def test_attacking_those_who_break_first_leaves_draws_without_breaks(predictions):
    ranked = np.repeat([0, 1], [10, 290])
    clean = predictions.whole_attacks(ranked[10:], 0, 600, 0.02, 0.99)
    assert predictions.whole_attacks(ranked, 10, 600, 0.02, 0.99) == 10 + clean
    assert predictions.whole_attacks(ranked, 0, 600, 0.02, 0.99) >= clean
