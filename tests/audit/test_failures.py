"""The indicators of attack failure on models of which every one is known, and what an audit says of them at once."""

import math

import pytest
import torch
from torch import nn

from robaudit.attacks import PGD, Examples
from robaudit.audit import audit
from robaudit.audit.failures import follow, indicators
from robaudit.audit.probes import probe, summed_up
from robaudit.engine import Engine
from robaudit.inputs import Classifier, load_classifier, load_images
from robaudit.inputs.normalisation import parse_normalisation
from robaudit.plan import AuditPlan, Budget, ThreatModel
from robaudit.verdict import INDICATORS, failure_alarms, failure_sentence, judge
from tests.shipped import ADVERSARIAL, DISTILLED

CPU = torch.device("cpu")
EPS = 0.1
PGD10 = PGD("Linf", EPS, EPS / 4)


def examples(model, n=16):
    """Grey images of one pixel at 0.5, all of class 1."""
    x, y = torch.full((n, 1, 1, 1), 0.5), torch.ones(n, dtype=torch.int64)
    return Examples(x, y, torch.arange(n), model(x))


def of_margin(function):
    """A model of two classes whose margin of class 1 at the pixel v is `function(v - 0.5)`."""

    def model(x):
        value = function(x.flatten(1)[:, :1] - 0.5)
        return torch.cat([-value / 2, value / 2], 1)

    return model


def measured(function, judge_function=None):
    search = of_margin(function)
    strict = of_margin(judge_function or function)
    return indicators(search, strict, PGD10, examples(search))


def test_a_path_that_can_be_written_down():
    """The margin 1 - 4 v falls by 4 a pixel: PGD climbs to v = eps and stays there."""
    path = follow(of_margin(lambda v: 1 - 4 * v), PGD10, examples(of_margin(lambda v: 1 - 4 * v)))
    assert path.margins.shape == (11, 16)
    assert path.last.flatten() == pytest.approx(torch.full((16,), 0.6), abs=1e-6)
    assert path.margins[-1] == pytest.approx(torch.full((16,), -0.6), abs=1e-5)
    assert not path.fooled.any()
    rows = measured(lambda v: 1 - 4 * v)
    for name in ("unavailable_gradients", "silent_success", "incomplete_optimization", "transfer_failure"):
        assert not rows[name].any(), name


def test_no_gradient():
    rows = measured(lambda v: 1 + torch.where(v > 1, v, 0.0))
    assert (rows["unavailable_gradients"] == 1).all()
    assert not rows["unstable_predictions"].any()


def test_the_loss_of_the_neighbours():
    """A loss that is log 2 at the input and, half of the time, 100 beside it."""
    rows = measured(lambda v: -100 * torch.sign(v).detach() + 0 * v)
    assert (rows["unstable_predictions"] > 0.9).all()
    steep = measured(lambda v: -3 - 0.2 * v)[
        "unstable_predictions"
    ]  # a loss of about 3, by 0.2 * |v|, |v| <= eps / 2
    assert (steep < 0.2 * EPS / 2 / 3 + 1e-6).all()
    assert (steep > 0).all()


def test_broken_on_the_way_and_not_at_the_end():
    """Beyond v = 0.05 the example is misclassified, and at v = eps, where PGD ends, it is not."""
    rows = measured(
        lambda v: torch.where(v.abs() > 0.099, 1.0, torch.where(v.abs() > 0.05, -1.0, 1.0)) - 0.1 * v
    )
    assert (rows["silent_success"] == 1).all()


def test_stopped_too_early():
    """Steps of a hundredth of what is needed, each of which gains as much as the one before."""
    short = PGD("Linf", EPS, EPS / 100)
    model = of_margin(
        lambda v: 0.11 - v
    )  # broken at v = 0.11: out of reach at the present pace in 10 more steps
    near = of_margin(lambda v: 0.015 - v)  # after 10 steps v = start + 0.01
    far = indicators(model, model, short, examples(model))["incomplete_optimization"]
    start = short.start(examples(near), torch.zeros(16, dtype=torch.int64)).candidate.flatten() - 0.5
    soon = indicators(near, near, short, examples(near))["incomplete_optimization"]
    end = start + 0.01
    assert torch.equal(soon.bool(), (end <= 0.015) & (end + 0.01 > 0.015))
    assert torch.equal(far.bool(), end + 0.01 > 0.11)
    assert soon.any()


def test_what_fools_one_model_and_not_the_other():
    rows = measured(lambda v: 0.05 - v, lambda v: 1.0 - v)
    assert (rows["transfer_failure"] == 1).all()
    assert not measured(lambda v: 0.05 - v)["transfer_failure"].any()


def test_they_are_counted_over_failures_and_only_where_there_are_enough():
    rows = {name: torch.ones(48) for name in INDICATORS[:-1]}
    rows |= {
        name: torch.ones(48, dtype=torch.bool) for name in ("fgsm", "noise", "pgd40", "starts", "unbounded")
    }
    rows["linearity"] = torch.zeros(48)
    rows["pgd10"] = torch.arange(48) < 12
    for name in INDICATORS[:-1]:
        rows[name][:6] = 0
    rows["unbounded"][3:] = False
    found = summed_up(rows)
    assert [found[name] for name in INDICATORS] == [0.5] * 5 + [0.25]
    rows["pgd10"] = torch.arange(48) < 7
    assert not set(INDICATORS) & set(summed_up(rows))


@pytest.mark.parametrize("source", [ADVERSARIAL, DISTILLED])
def test_the_shipped_networks(source):
    """Honest: none. Distilled: no gradient, and no bound helps; said in one sentence."""
    images = load_images("digits", limit=60, seed=0)
    model = load_classifier(str(source), images=images)
    x = images.float(slice(0, 60))
    logits = model(x)
    right = (logits.argmax(1) == images.labels).nonzero().squeeze(1)[:48]
    rows = probe(
        lambda threat: Engine(model, model, threat, 16, CPU),
        Examples(x[right], images.labels[right], images.ids[right], logits[right]),
        ThreatModel("Linf", 0.1),
        0,
    )
    found = summed_up(rows)
    if source == ADVERSARIAL:
        assert not failure_alarms(found)
        assert not failure_sentence(found)
    else:
        assert found["unavailable_gradients"] > 0.9
        assert found["unconstrained_attack_failure"] > 0.9
        failures = int(rows["pgd10"].sum())
        said = failure_sentence(found)
        assert said.startswith(
            f"PGD-10's number says nothing here: of its {failures} failures on 48 examples "
        )
        assert "had no gradient and" in said


class _Rounded(nn.Module):
    """A network behind pixels that are black or white: no gradient, and hardly a pixel to turn."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network((x > 0.5).float())


def test_where_pgd_says_nothing_nothing_found_is_never_said(tmp_path):
    images = load_images("digits", seed=0)
    honest = load_classifier(str(ADVERSARIAL), images=images)
    network = Classifier(_Rounded(honest), parse_normalisation("none", 1), honest.info)
    heard = []

    class Watch:
        def begin(self, *_): ...
        def advance(self, *_): ...
        def end(self, *_): ...
        def note(self, text):
            heard.append(text)

    plan = AuditPlan(
        ThreatModel("Linf", 1e-4),
        examples="all",
        budget=Budget(apgd_steps=2, fab_steps=1, square_queries=5, targets=1),
    )
    evidence = audit(network, images, plan, path=tmp_path / "e", force=True, progress=Watch())
    verdict = judge(evidence)
    assert verdict.outcome == "inconclusive"
    assert verdict.settled
    assert verdict.summary.startswith("PGD-10's number says nothing here: of its ")
    assert heard == [verdict.summary]
    assert "pgd-attack-fails" in {item.code for item in verdict.causes}
    assert not math.isnan(evidence.header.probes["unconstrained_attack_failure"])


def test_draws_of_their_own_are_no_failure_of_the_attack():
    """What breaks the mean over some draws and not that over others tells nothing of the network."""
    probes = {"examples": 48.0, "pgd10": 0.625, "transfer_failure": 0.2}
    assert "broke the model that was attacked" in failure_sentence(probes)
    assert not failure_alarms(probes, draws=8)
    assert not failure_sentence(probes, draws=8)
    probes |= {"unconstrained_attack_failure": 1.0}
    assert failure_alarms(probes, draws=8) == {"unconstrained_attack_failure": 1.0}
