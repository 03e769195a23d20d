"""How near to a break those came that break late, on a small audit."""

import numpy as np
import pytest
import torch

from robaudit import check
from robaudit.audit import audit
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel
from tests.shipped import DISTILLED


@pytest.fixture(scope="module")
def predictions():
    import predictions

    return predictions


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    images, model = load_images("digits", limit=60, seed=0), load_classifier(str(DISTILLED))
    budget = Budget(apgd_steps=12, fab_steps=3, targets=3, square_queries=400)
    plan = AuditPlan(ThreatModel("Linf", 0.1), budget=budget, examples="all", limit=60)
    return model, images, audit(model, images, plan, path=tmp_path_factory.mktemp("predictions") / "full")


def test_candidates_are_what_the_short_attacks_leave(predictions, full):
    evidence = full[-1]
    count, rankings = predictions.places(*full)
    (found,) = rankings.values()
    # What the beginning of an attack breaks the whole one breaks.
    survivors = int(evidence.survives("autoattack").sum())
    assert 0 < survivors == count - len(found)
    assert count <= int(evidence.correct.sum())
    assert ((found >= 0) & (found < 100)).all()


class Rounding(torch.nn.Module):
    """No gradient passes, so that Square alone breaks anything."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network((6 * x).round() / 6)


def test_squares_margins_say_better_whom_it_breaks(predictions, full):
    """They rank first what its first queries break, and no break is lost by either ranking."""
    model, images, _ = full
    rounding = Rounding(model).eval()
    settings = {"eps": 0.15, "examples": "all", "force": True, "square_queries": 400, "apgd_steps": 3}
    asked = (rounding, images.float(), images.labels)
    evidence = check(*asked, fab_steps=1, targets=1, **settings).evidence
    count, rankings = predictions.broken_by_square(rounding, images, evidence, 1000)
    alone, both = rankings.values()
    left, _ = predictions.candidates_of(rounding, images, evidence)
    here = np.isin(images.ids.numpy(), left.ids.numpy())
    assert count == here.sum()
    assert len(alone) == len(both) == (here & evidence.broken("square")).sum() > 5
    assert both.mean() < alone.mean()
