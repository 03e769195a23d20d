"""The attacks as plain functions: in the ball, as strong as through the engine, and clear about bad input."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import robaudit
from robaudit import RobauditError, attacks
from robaudit.evidence import inside
from robaudit.plan import AuditPlan, Budget, ThreatModel
from tests.attacks.test_attacks import attack_all
from tests.models import Wrapped, cnn

CALLS = {
    "pgd10": (attacks.pgd, {}),
    "apgd-ce": (attacks.apgd, {"steps": 15}),
    "apgd-dlr": (attacks.apgd, {"loss": "dlr", "steps": 15}),
    "apgd-t": (attacks.apgd_targeted, {"steps": 15}),
    "fab": (attacks.fab, {"targeted": False, "steps": 15}),
    "fab-t": (attacks.fab, {"steps": 15}),
    "square": (attacks.square, {"queries": 100}),
}
X = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "norm"), [*((name, "Linf") for name in CALLS), ("apgd-ce", "L2")])
def test_a_function_breaks_what_the_attack_breaks(name, norm):
    model, eps = cnn(seed=4), 0.04 if norm == "Linf" else 0.3
    y = model(X).argmax(1)
    function, settings = CALLS[name]
    x_adv = function(model, X, y, eps=eps, norm=norm, **settings)
    threat = ThreatModel(norm, eps)
    budget = Budget(apgd_steps=15, fab_steps=15, square_queries=100)
    outcome, _, _ = attack_all(attacks.ATTACKS[name](AuditPlan(threat, budget=budget)), model, X, y, threat)
    assert inside(x_adv.numpy(), X.numpy(), threat).all()
    assert torch.equal(model(x_adv).argmax(1) != y, outcome == 1)
    assert bool((outcome == 1).any())
    parts = function(model, X, y, eps=eps, norm=norm, batch_size=7, **settings)
    assert torch.equal(model(parts).argmax(1), model(x_adv).argmax(1))


def test_functions_are_there_after_importing_the_package_alone():
    script = (
        "import sys, robaudit\nassert 'torch' not in sys.modules\n"
        "print(robaudit.attacks.pgd.__name__, robaudit.attacks.square.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["pgd", "square"]


def test_the_model_and_the_images_stay_as_they_were():
    model, y = cnn(seed=4), cnn(seed=4)(X).argmax(1)
    before = X.clone()
    with torch.inference_mode():
        x_adv = robaudit.attacks.pgd(model, X.double(), y, eps=0.1)
    assert x_adv.dtype == torch.float64
    assert torch.equal(X, before)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("model", "x", "y", "settings", "kind", "message"),
    [
        (cnn(), X * 2, 0, {}, RobauditError, r"x: holds values outside \[0, 1\]"),
        (cnn(), X.byte(), 0, {}, RobauditError, "x: is torch.uint8"),
        (cnn(), X[0], 0, {}, RobauditError, r"expected floats \(N, C, H, W\)"),
        (cnn(), X, 10, {}, RobauditError, "y: runs from 10 to 10; the model has classes 0 to 9"),
        (cnn(), X, -1, {}, RobauditError, "y: runs from -1"),
        (cnn(), X, 0.5, {}, RobauditError, "y: expected 20 class indices"),
        (cnn().train(), X, 0, {}, RobauditError, r"training mode; call model.eval\(\)"),
        (Wrapped(lambda x: x.flatten(1).sum(1)).eval(), X, 0, {}, RobauditError, "expected logits"),
        (cnn(), X, 0, {"batch_size": 0}, RobauditError, "batch_size 0"),
        (cnn(), X, 0, {"batch_size": 2.5}, RobauditError, "batch_size 2.5"),
        (Wrapped(lambda x: {"logits": x}).eval(), X, 0, {}, RobauditError, "model: returned a dict"),
        (Wrapped(lambda x: x.flatten(1)[:, :10] / 0).eval(), X, 0, {}, RobauditError, "are not all finite"),
        (cnn().double(), X, 0, {}, RobauditError, "model: does not take float32 images of shape"),
        (cnn(), X, 0, {"steps": 0}, ValueError, "steps 0 must be a whole number, at least 1"),
        (cnn(), X, 0, {"step_size": 0}, ValueError, "step_size 0 must be above 0"),
        (cnn(), X, 0, {"seed": -1}, ValueError, "seed -1"),
        (cnn(), X, 0, {"eps": None}, ValueError, "eps None is not a number"),
        (cnn(), X, 0, {"eps": 8}, ValueError, "did you mean 8/255"),
        (cnn(), X, 0, {"norm": "L7"}, ValueError, "norm 'L7'"),
    ],
)
def test_bad_input_is_refused(model, x, y, settings, kind, message):
    with pytest.raises(kind, match=message):
        attacks.pgd(model, x, torch.full((20,), y), **{"eps": 0.1} | settings)


@pytest.mark.parametrize(
    ("attack", "settings"),
    [("apgd", "restarts"), ("apgd_targeted", "targets"), ("fab", "steps"), ("square", "queries")],
)
def test_numbers_that_would_attack_nothing_are_refused(attack, settings):
    with pytest.raises(ValueError, match=f"{settings} 0 must be"):
        getattr(attacks, attack)(cnn(), X, torch.zeros(20, dtype=torch.int64), eps=0.1, **{settings: 0})


def test_images_in_16_bits_give_adversarial_ones_inside_the_ball():
    model, x = cnn(), X.bfloat16()
    y = model(x.float()).argmax(1)
    x_adv = attacks.apgd(model, x, y, eps="0.1", steps=10)
    assert x_adv.dtype == torch.float32
    assert float((x_adv - x.float()).abs().max()) <= np.float32(0.1)
