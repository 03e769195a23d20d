"""A network that returns probabilities: PGD-10 as it is, everything else before its softmax."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robaudit.audit import audit, verify
from robaudit.inputs import Classifier, load_classifier, load_images, parse_normalisation
from robaudit.plan import AuditPlan, Budget, ThreatModel
from robaudit.verdict import accuracy, causes_of
from tests.shipped import ADVERSARIAL

BUDGET = Budget(apgd_steps=20, fab_steps=5, square_queries=50)
PLAN = AuditPlan(
    ThreatModel("Linf", 0.15), attacks=("pgd10", "apgd-ce", "apgd-t"), examples="all", budget=BUDGET
)


class Probabilities(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(100 * self.network(x), 1)


def test_probabilities_are_attacked_before_their_softmax(tmp_path: Path) -> None:
    images = load_images("digits", limit=60, seed=0)
    plain = load_classifier(str(ADVERSARIAL))
    wrapped = Classifier(Probabilities(plain.network), parse_normalisation("none", 1), plain.info)
    found = audit(wrapped, images, PLAN, path=tmp_path / "a")
    expected = audit(plain, images, PLAN, path=tmp_path / "b")

    def value(evidence: object, name: str) -> float:
        interval = accuracy(evidence, name)  # type: ignore[arg-type]
        assert interval is not None
        return interval.value

    assert value(found, "clean") == value(expected, "clean")
    for name in ("apgd-ce", "apgd-t"):
        assert value(found, name) == pytest.approx(value(expected, name), abs=0.05)
    assert value(found, "pgd10") > value(expected, "pgd10") + 0.2  # its gradients vanish behind the softmax
    assert any("its last operation is a softmax" in note for note in found.header.model["notes"])
    assert "last-softmax" in {item.code for item in causes_of(found)}
    probes = found.header.probes
    assert probes["before_pgd10"] < probes["pgd10"] - 0.2 and probes["saturated"] > 0.5
    assert {"fosc_normalised", "sgcs", "before_fosc_normalised", "before_sgcs"} <= set(probes)
    assert not verify(tmp_path / "a", wrapped).failures
    assert "before_pgd10" not in expected.header.probes
