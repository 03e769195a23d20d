"""How many draws a randomised model is averaged over where nobody says."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from robaudit.audit import audit, draws
from robaudit.audit.draws import RANDOMISED_BUDGET, choose_draws, draws_needed
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AUTO_DRAWS, AuditPlan, Budget, ThreatModel
from robaudit.verdict import judge
from tests.models import Wrapped
from tests.shipped import ADVERSARIAL

CPU = torch.device("cpu")
PLAN = AuditPlan(ThreatModel("Linf", 0.1), eot=AUTO_DRAWS)
TINY = Budget(apgd_steps=2, fab_steps=1, targets=1, square_queries=5)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", limit=24, seed=0)


class Noisy(nn.Module):
    """The honest network behind noise."""

    def __init__(self, size):
        super().__init__()
        self.inner, self.size = load_classifier(str(ADVERSARIAL)), size
        self.info = self.inner.info

    def forward(self, x):
        return self.inner(x + self.size * torch.randn_like(x))


def test_the_draws_follow_the_margins_spread():
    """Of two logits, (0, -m - s z) with z normal: the mean's margin m is 3 standard errors s / sqrt(n) from zero."""
    x, y = torch.zeros(16, 1, 1, 1), torch.zeros(16, dtype=torch.int64)

    def model(spread):
        def logits(x):
            value = -1 - spread * torch.randn(len(x), 1)
            return torch.cat([torch.zeros(len(x), 1), value], 1)

        return Wrapped(logits)

    assert draws_needed(model(0.1), x, y, 0) == 8  # 0.09 would do
    assert draws_needed(model(1.2), x, y, 0) == 16  # about 13
    assert draws_needed(model(30), x, y, 0) == 16


def test_it_is_one_for_a_model_without_randomness_and_what_was_asked_for_stays(images, tmp_path):
    path = tmp_path / "a"
    assert choose_draws(PLAN, Noisy(0), images, CPU, path) == replace(PLAN, eot=1)
    asked = replace(PLAN, eot=3)
    assert choose_draws(asked, Noisy(0.1), images, CPU, path) == asked


def test_a_smaller_budget_unless_one_is_given(images, tmp_path):
    found = choose_draws(PLAN, Noisy(0.1), images, CPU, tmp_path / "a")
    assert found == replace(PLAN, eot=found.eot, budget=RANDOMISED_BUDGET)
    assert found.eot in (8, 16)
    own = choose_draws(replace(PLAN, budget=TINY), Noisy(0.1), images, CPU, tmp_path / "a")
    assert own == replace(PLAN, eot=found.eot, budget=TINY)


def test_another_precision_of_the_same_evidence_keeps_its_draws(images, tmp_path, monkeypatch):
    """Measured anew, on another device say, their number might be another one."""
    plan, path = replace(PLAN, budget=TINY, within=0.4, limit=None), tmp_path / "a"
    eot = audit(Noisy(0.1), images, plan, path=path).header.plan.eot
    monkeypatch.setattr(draws, "draws_needed", lambda *_: 24 - eot)
    for within in (0.4, 0.3, None):
        assert choose_draws(replace(plan, within=within), Noisy(0.1), images, CPU, path).eot == eot


def test_a_randomised_model_is_audited_without_being_asked_and_resumed_alike(images, tmp_path, monkeypatch):
    path, plan = tmp_path / "a", replace(PLAN, budget=TINY, attacks=("pgd10", "square"), examples="all")
    evidence = audit(Noisy(0.1), images, plan, path=path)
    draws = evidence.header.plan.eot
    assert draws in (8, 16)
    causes = {item.code: item.message for item in judge(evidence).causes}
    assert causes["randomised-and-averaged"].endswith(f"Audited is the mean of {draws} draws.")
    # Another machine may measure another number: the file's is kept.
    monkeypatch.setattr("robaudit.audit.draws.CHOICES", (5,))
    again = audit(Noisy(0.1), images, plan, path=path)
    assert again.header.plan.eot == draws
    assert again.passes == evidence.passes
