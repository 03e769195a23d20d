"""`--eps-curve`: robust accuracy over the radius, and what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import robaudit
from robaudit.cli import run
from robaudit.engine import tuning
from robaudit.evidence import Evidence
from robaudit.plan import AuditPlan, ThreatModel
from robaudit.verdict import judge
from tests.cli.helpers import assert_clear
from tests.models import cnn

RADII = (0.01, 0.03, 0.06, 0.4)


@pytest.fixture(scope="module")
def result():
    model = cnn(classes=4)
    x = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_PATIENCE", 0.02)
        yield robaudit.check(model, x, model(x).argmax(1), eps=0.03, attacks="pgd10", eps_curve=RADII)


def test_the_curve_falls_and_holds_pgd10_of_the_audit(result):
    points = result.to_dict()["eps_curve"]
    assert [point["eps"] for point in points] == list(RADII)
    worst = [point["worst"]["value"] for point in points]
    assert worst == sorted(worst, reverse=True)
    assert all(point["worst"]["value"] <= point["pgd10"]["value"] for point in points)
    assert worst[0] > worst[-1] == 0
    assert points[1]["pgd10"]["value"] == result.accuracy["pgd10"].value
    assert all(point["pgd10"]["low"] <= point["pgd10"]["value"] <= point["pgd10"]["high"] for point in points)


def test_every_report_shows_it(result):
    assert "worst case of few passes" in result.report("terminal")
    assert "and end at nothing" in result.report("html")


def evidence(result, pgd10, radii=(0.01, 0.03, 0.5), shape=(1, 8, 8)):
    kept = {"radii": list(radii), "examples": 100, "correct": 90, "pgd10": pgd10, "worst": pgd10}
    header = replace(result.evidence.header, eps_curve=kept)
    header.data["shape"] = list(shape)
    return Evidence(header, np.zeros(0, int), np.zeros(0, int), np.zeros(0, int))


@pytest.mark.parametrize(
    ("pgd10", "codes"),
    [
        ([80, 40, 0], set()),
        ([40, 48, 0], {"rises-with-eps"}),
        ([40, 43, 0], set()),  # luck
        ([50, 48, 47], {"flat-in-eps", "unbounded-attack-fails"}),
        ([50, 30, 20], {"unbounded-attack-fails"}),
    ],
)
def test_a_curve_that_rises_is_flat_or_does_not_end_at_nothing_is_a_finding(result, pgd10, codes):
    found = {item.code for item in judge(evidence(result, pgd10)).causes}
    assert found & {"rises-with-eps", "flat-in-eps", "unbounded-attack-fails"} == codes


def test_auto_is_around_the_radius_and_within_the_norm():
    radii = AuditPlan.from_flags(ThreatModel("Linf", 0.3), eps_curve="auto").curve
    assert radii == pytest.approx((0.075, 0.15, 0.3, 0.6))


@pytest.mark.parametrize(
    ("curve", "start"),
    [
        ("8/255,4/255", "eps-curve 0.0313725, 0.0156863: radii must rise"),
        ("1/255,1/255", "eps-curve 0.00392157, 0.00392157: radii must rise"),
        ("1/255,8", "eps 8 must be in"),
        ("0,1/255", "eps 0 must be in"),
        ("few", "eps-curve: 'few' is not a number"),
        ("", "eps-curve: '' is not a number"),
        (",".join(f"{k}/255" for k in range(1, 40)), "eps-curve has 39 radii"),
    ],
)
def test_bad_radii_are_refused_before_anything(capsys, tmp_path, curve, start):
    model = tmp_path / "model.pt"
    model.touch()
    code = run(["check", str(model), "--dataset", "digits", "--eps-curve", curve])
    assert_clear(capsys, code, start)
