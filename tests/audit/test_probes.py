"""The probes against a closed form, and the causes that they and the trajectory give for known defects."""

import math
import re

import pytest
import torch
from torch import nn

from robaudit.attacks import Examples
from robaudit.audit import audit, preflight
from robaudit.audit.probes import merged, probe, summed_up
from robaudit.engine import Engine
from robaudit.inputs import Classifier, build_architecture, load_classifier, load_images, make_images
from robaudit.inputs.normalisation import Normalise, parse_normalisation
from robaudit.plan import AuditPlan, Budget, ThreatModel
from robaudit.verdict import causes_of
from robaudit.verdict.causes import _from_probes, _nonlinear
from tests.models import Wrapped
from tests.shipped import ADVERSARIAL, DISTILLED

CPU = torch.device("cpu")
PLAN = AuditPlan(
    ThreatModel("Linf", 0.1), attacks=("pgd10", "apgd-ce"), examples="all", budget=Budget(apgd_steps=1)
)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", limit=100, seed=0)


def test_on_a_linear_model_every_probe_is_known():
    """With two classes the margin falls by exactly eps |w|_1 away from the box's faces."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(1, 16, generator=generator)
    x = torch.zeros(48, 1, 5, 5)
    x.view(48, 25)[:, :16] = 0.4 + 0.2 * torch.rand(48, 16, generator=generator)

    def model(z):
        value = (z.flatten(1)[:, :16] @ w.T) + z.flatten(1)[:, 16:17]
        return torch.cat([-value / 2, value / 2], 1)

    logits = model(x)
    margin = logits[:, 1] - logits[:, 0]
    y = (margin > 0).long()
    wide = w.abs().sum() + 1
    # One pixel, of weight 1, sits on the face 0 and can only rise.
    upward = torch.where(y == 0, wide, wide - 1)
    examples = Examples(x, y, torch.arange(48), logits)
    threat = ThreatModel("Linf", 0.03)
    found = summed_up(
        probe(lambda t: Engine(Wrapped(model), Wrapped(model), t, 16, CPU), examples, threat, 0)
    )
    for name, factor in (("pgd10_x0.25", 0.25), ("pgd10", 1), ("pgd10_x2", 2), ("pgd10_x4", 4), ("fgsm", 1)):
        expected = float((margin.abs() > factor * 0.03 * upward).float().mean())
        assert found[name] == pytest.approx(expected, abs=0.021), name
    assert found["pgd40"] == pytest.approx(found["pgd10"], abs=0.021)
    assert found["noise"] >= found["pgd10"]
    assert found["unbounded"] == found["only_noise"] == found["only_fgsm"] == found["silent"] == 0
    assert found["examples"] == 48
    # The logistic loss curves by at most 1/4 along the margin, which moves by at most eps |w|_1.
    assert 0 < found["linearity"] <= (0.03 * float(wide)) ** 2 / 8 / math.log(2)


def test_rows_of_several_ranks_are_merged_in_order():
    rows = {"pgd10": torch.arange(7) % 3 == 0, "linearity": torch.arange(7.0)}
    for world in (1, 2, 3, 7):
        parts = [{name: values[rank::world] for name, values in rows.items()} for rank in range(world)]
        assert all(torch.equal(values, rows[name]) for name, values in merged(parts).items())


def codes(model, images, path):
    return {item.code for item in causes_of(audit(model, images, PLAN, path=path, force=True))}


class _Around(nn.Module):
    """A defence around the honest net."""

    def __init__(self, forward):
        super().__init__()
        self.inner = load_classifier(str(ADVERSARIAL))
        self.info, self._forward = self.inner.info, forward

    def forward(self, x):
        return self._forward(self.inner, x)


def test_an_honest_model_raises_nothing(tmp_path, images):
    assert codes(load_classifier(str(ADVERSARIAL)), images, tmp_path / "a") == set()


def test_distillation_is_seen_as_vanishing_gradients(tmp_path, images):
    found = codes(load_classifier(str(DISTILLED)), images, tmp_path / "a")
    assert {"vanishing-gradients", "noise-beats-pgd", "unbounded-attack-fails"} <= found
    assert not found & {"shattered-gradients", "rugged-surface"}


def test_quantised_inputs_are_seen_as_shattered_gradients(tmp_path, images):
    model = _Around(lambda inner, x: inner(torch.round(x * 4) / 4))
    found = codes(model, images, tmp_path / "a")
    assert "shattered-gradients" in found
    assert "unbounded-attack-fails" in found
    assert "vanishing-gradients" not in found


def test_large_logits_are_seen_as_vanishing_gradients(tmp_path, images):
    assert "vanishing-gradients" in codes(_Around(lambda inner, x: 1e4 * inner(x)), images, tmp_path / "a")


def test_a_ripple_on_the_input_is_seen_as_a_rugged_surface(tmp_path, images):
    """A fine sine on every pixel turns the gradient's sign at every step and hardly moves the logits."""
    model = _Around(lambda inner, x: inner(x + 0.004 * torch.sin(1700 * x)))
    found = codes(model, images, tmp_path / "a")
    assert {"rugged-surface", "pgd-not-converged", "unbounded-attack-fails"} <= found
    assert "vanishing-gradients" not in found


class _Dense(nn.Module):
    """Two classes by the same weight on every pixel: a small L2 ball moves it little, an Linf ball much."""

    def forward(self, x):
        signs = torch.tensor([1.0, -1.0]).repeat(32)
        value = (x.flatten(1) - 0.5) @ signs / 8
        return torch.stack([-value, value], 1)


def test_a_model_of_another_norm_is_named(tmp_path):
    """Margins of 4 sigma |w|: at a quarter of eps, and in the L2 ball, most stand; at eps none."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.tensor([1.0, -1.0]).repeat(32)
    labels = torch.arange(100) % 2
    pixels = 0.5 + 0.05 * (2 * labels - 1)[:, None] * signs + 0.1 * torch.randn(100, 64, generator=generator)
    images = make_images(
        pixels.clamp(0, 1).reshape(100, 1, 8, 8), labels, name="made", split="test", classes=2
    )
    info = load_classifier(str(ADVERSARIAL)).info
    model = Classifier(_Dense(), parse_normalisation("none", 1), info)
    plan = AuditPlan(
        ThreatModel("Linf", 0.12), attacks=("pgd10", "apgd-ce"), examples="all", budget=PLAN.budget
    )
    found = {item.code for item in causes_of(audit(model, images, plan, path=tmp_path / "a"))}
    assert "robust-in-another-norm" in found
    assert "robust-at-smaller-eps" not in found


def test_a_loss_far_from_its_tangent_plane_is_rugged():
    assert [item.code for item in _nonlinear({"linearity": 0.3})] == ["rugged-surface"]
    assert _nonlinear({"linearity": 0.1}) == _nonlinear({}) == []


def test_restarts_that_break_much_are_named():
    header = {"examples": 48.0, "only_starts": 0.15}
    assert [item.code for item in _from_probes(header)] == ["restarts-break"]
    assert not _from_probes({"examples": 48.0, "only_starts": 0.04})


def test_a_wrong_normalisation_is_seen_and_the_right_one_is_not(images):
    right = load_classifier(str(ADVERSARIAL))
    wrong = Classifier(right.network, parse_normalisation("-1/0.2", 1), right.info)
    assert preflight(right, images, CPU) == ()
    assert "wrong-normalisation" in {item.code for item in preflight(wrong, images, CPU)}


def test_a_wrong_scale_shows_in_the_loss_where_accuracy_is_the_same(images):
    """A net trained behind MNIST's mean and deviation, as somebody loads it without: eps means a third of it."""
    torch.manual_seed(0)
    train, norm = load_images("digits", split="train"), parse_normalisation("mnist", 1)
    network = build_architecture(
        "sequential:conv8k3p1 relu max2 flatten fcK", classes=10, in_channels=1, image_size=8
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(Normalise(norm)(train.float())), train.labels).backward()
        optimiser.step()
    info = load_classifier(str(ADVERSARIAL)).info
    wrong = Classifier(network.eval(), parse_normalisation("none", 1), info)
    assert preflight(Classifier(network, norm, info), images, CPU) == ()
    (found,) = preflight(wrong, images, CPU)
    assert found.code == "wrong-normalisation"
    before, after = (float(share) for share in re.findall(r"([\d.]+) %", found.message))
    assert after < before + 10
    assert found.message.endswith("with mnist.")


def test_probes_are_made_once_and_not_for_pgd_alone(tmp_path, images, monkeypatch):
    model = load_classifier(str(ADVERSARIAL))
    first = audit(model, images, PLAN, path=tmp_path / "a").header.probes
    monkeypatch.setattr("robaudit.audit.session.probe", lambda *_: pytest.fail("made again"))
    assert audit(model, images, PLAN, path=tmp_path / "a").header.probes == first
    quick = AuditPlan(ThreatModel("Linf", 0.1), attacks=("pgd10",), examples="all")
    assert audit(model, images, quick, path=tmp_path / "b").header.probes == {}
