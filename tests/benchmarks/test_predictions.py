"""How near to a break those came that break late, on a small audit."""

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
    count, found = predictions.places(model, images, evidence)
    # What the beginning of an attack breaks the whole one breaks.
    survivors = int(evidence.survives("autoattack").sum())
    assert 0 < survivors == count - len(found)
    assert count <= int(evidence.correct.sum())
    assert ((found >= 0) & (found < 100)).all()
