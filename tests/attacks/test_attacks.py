"""Each attack against what is known: closed forms on a linear model, the ball, the batch, broken models."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from robaudit.attacks import APGD, ATTACKS, FAB, PGD, Examples, Square
from robaudit.attacks.objectives import dlr, evaluate, margin, misclassified, targeted_dlr
from robaudit.engine import Engine
from robaudit.evidence import Outcome, inside
from robaudit.plan import ATTACK_NAMES, AuditPlan, Budget, ThreatModel
from tests.models import Wrapped, cnn, two_class_linear

CPU = torch.device("cpu")
GRADIENT_ATTACKS = ("pgd10", "apgd-ce", "apgd-dlr", "apgd-t", "fab-t")


def attack_all(attack, model, x, y, threat, slots=64, strict=None):
    """Outcomes (n,), witnesses by row, and what was retired."""
    with torch.no_grad():
        logits = model(x)
    retired = []
    engine = Engine(model, strict or model, threat, slots, CPU)
    engine.run(attack, Examples(x, y, torch.arange(len(x)), logits), retired.append)
    outcome = torch.full((len(x),), int(Outcome.NOT_RUN))
    witnesses = {}
    for group in retired:
        assert bool((outcome[group.rows] == Outcome.NOT_RUN).all()), "retired twice"
        outcome[group.rows] = group.outcome
        for k, row in enumerate(group.rows.tolist()):
            if group.outcome[k] == Outcome.BROKEN:
                witnesses[row] = group.witness[k]
    assert bool((outcome != Outcome.NOT_RUN).all()), "an example was lost"
    return outcome, witnesses, retired


def plan(threat, **budget):
    return AuditPlan(threat, attacks=ATTACK_NAMES, budget=Budget(**budget))


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_gradient_attacks_reach_the_known_worst_case_of_a_linear_model(norm, name):
    model = two_class_linear()
    x = torch.rand(400, 3, 2, 2, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4
    logits = model(x)
    y = logits.argmax(1)
    direction = model.weight[1] - model.weight[0]
    lead = (logits[:, 1] - logits[:, 0]).abs()
    eps = {"Linf": 0.02, "L2": 0.06, "L1": 0.15}[norm]
    reach = eps * torch.linalg.vector_norm(direction, ord={"Linf": 1, "L2": 2, "L1": torch.inf}[norm])
    sure = (lead - reach).abs() > 0.02 * reach  # rounding and unconverged steps may decide the rest
    outcome, _, _ = attack_all(
        ATTACKS[name](plan(ThreatModel(norm, eps))), model, x, y, ThreatModel(norm, eps)
    )
    broken = outcome == Outcome.BROKEN
    assert 0.2 < float(broken.float().mean()) < 0.95
    assert torch.equal(broken[sure], (lead < reach)[sure])


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("name", ATTACK_NAMES)
def test_every_witness_is_inside_and_misclassified(norm, name):
    model, threat = cnn(), ThreatModel(norm, {"Linf": 0.15, "L2": 0.8, "L1": 4.0}[norm])
    x = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(2)).round(decimals=1)
    y = model(x).argmax(1)
    attack = ATTACKS[name](plan(threat, square_queries=300, fab_steps=20, apgd_steps=30))
    outcome, witnesses, _ = attack_all(attack, model, x, y, threat)
    assert witnesses, "nothing was broken, so nothing was shown"
    rows = torch.tensor(sorted(witnesses))
    points = torch.stack([witnesses[row] for row in rows.tolist()])
    assert inside(points.numpy(), x[rows].numpy(), threat).all()
    assert bool((model(points).argmax(1) != y[rows]).all())
    assert int((outcome == Outcome.BROKEN).sum()) == len(witnesses)


@pytest.mark.parametrize(
    ("norm", "name"),
    [
        *((norm, name) for norm in ("Linf", "L2") for name in ATTACK_NAMES),
        ("L1", "apgd-ce"),
        ("L1", "square"),
    ],
)
def test_outcomes_do_not_depend_on_the_batch_size(norm, name):
    model, threat = cnn(seed=4), ThreatModel(norm, {"Linf": 0.04, "L2": 0.25, "L1": 1.2}[norm])
    x = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    y = model(x).argmax(1)
    attack = ATTACKS[name](plan(threat, square_queries=100, fab_steps=15, apgd_steps=25))
    results = [attack_all(attack, model, x, y, threat, slots=slots) for slots in (7, 64, 500)]
    outcomes = [outcome for outcome, _, _ in results]
    assert 0 < int((outcomes[0] == Outcome.BROKEN).sum()) < 120
    for other in outcomes[1:]:
        assert float((outcomes[0] == other).float().mean()) >= 0.995


def test_the_order_of_the_examples_does_not_matter():
    model, threat = cnn(seed=4), ThreatModel("Linf", 0.04)
    x = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    logits = model(x)
    ids, order = torch.arange(50), torch.randperm(50, generator=torch.Generator().manual_seed(0))
    found = []
    for rows in (ids, order):
        outcome = torch.zeros(50, dtype=torch.int64)
        Engine(model, model, threat, 16, CPU).run(
            Square("Linf", 0.04, queries=100),
            Examples(x[rows], logits.argmax(1)[rows], ids[rows], logits[rows]),
            lambda r, rows=rows, outcome=outcome: outcome.__setitem__(rows[r.rows], r.outcome),
        )
        found.append(outcome)
    assert torch.equal(*found)


def test_an_example_leaves_as_soon_as_it_is_broken_and_costs_what_it_took():
    model, threat = cnn(), ThreatModel("Linf", 0.5)
    x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    y = model(x).argmax(1)
    outcome, _, retired = attack_all(APGD("Linf", 0.5), model, x, y, threat, slots=8)
    steps = torch.cat([group.steps for group in retired])
    assert bool((outcome == Outcome.BROKEN).all())
    assert int(steps.max()) < 20
    assert int(steps.min()) >= 1


def test_robust_examples_cost_the_whole_budget():
    model = Wrapped(
        lambda x: torch.stack([x.flatten(1).sum(1) + 1e3, x.flatten(1).mean(1), x[:, 0, 0, 0]], 1)
    )
    x, y = torch.rand(5, 1, 4, 4), torch.zeros(5, dtype=torch.int64)
    threat = ThreatModel("Linf", 0.1)
    for attack, steps in (
        (APGD("Linf", 0.1, steps=9, restarts=2), 2 * 10),
        (APGD("Linf", 0.1, loss="dlr-targeted", steps=9), 2 * 10),
        (FAB("Linf", 0.1, steps=9), 2 * 9),
        (Square("Linf", 0.1, queries=9), 9),
        (PGD("Linf", 0.1, 0.025, steps=9), 10),
    ):
        outcome, _, retired = attack_all(attack, model, x, y, threat, slots=3)
        assert bool((outcome == Outcome.ROBUST).all())
        assert torch.cat([group.steps for group in retired]).tolist() == [steps] * 5, attack


def test_nan_logits_are_no_prediction_of_class_0():
    """The reference takes the argmax of NaN for class 0, and so a NaN for a break."""
    inner = cnn(classes=3)

    def sometimes(x):
        z = inner(x) + torch.tensor([0.0, 0.0, 50.0])
        return torch.where((x.flatten(1)[:, :1] > 0.5), torch.full_like(z, float("nan")), z)

    model, threat = Wrapped(sometimes), ThreatModel("Linf", 0.05)
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.4
    x[:10, 0, 0, 0], x[10:, 0, 0, 0] = 0.48, 0.1
    y = torch.full((20,), 2)
    for name in ATTACK_NAMES:
        attack = ATTACKS[name](plan(threat, square_queries=300, fab_steps=10, apgd_steps=10))
        outcome, _, _ = attack_all(attack, model, x, y, threat)
        assert not bool((outcome == Outcome.BROKEN).any()), name
        assert bool((outcome[10:] == Outcome.ROBUST).all()), name
        if name == "square":  # the others may step the other way, away from 0.5
            assert int((outcome[:10] == Outcome.NONFINITE).sum()) >= 8, name


@pytest.mark.parametrize("classes", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ATTACK_NAMES)
def test_any_number_of_classes(classes, name):
    """The reference fails with an IndexError below 10 classes."""
    model, threat = cnn(classes=classes), ThreatModel("Linf", 0.1)
    x = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    attack = ATTACKS[name](plan(threat, square_queries=100, fab_steps=10, apgd_steps=10))
    outcome, _, _ = attack_all(attack, model, x, model(x).argmax(1), threat)
    assert int((outcome == Outcome.BROKEN).sum()) > 0


def test_a_half_precision_model_can_be_searched():
    """The reference crashes on float16 logits."""
    strict = cnn()
    half = cnn().to(torch.bfloat16)
    search, threat = Wrapped(lambda x: half(x.to(torch.bfloat16))), ThreatModel("Linf", 0.3)
    x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y = strict(x).argmax(1)
    for name in ATTACK_NAMES:
        attack = ATTACKS[name](plan(threat, square_queries=100, fab_steps=10, apgd_steps=10))
        _, witnesses, _ = attack_all(attack, search, x, y, threat, strict=strict)
        rows = torch.tensor(sorted(witnesses))
        assert bool((strict(torch.stack([witnesses[r] for r in rows.tolist()])).argmax(1) != y[rows]).all())


def test_a_break_that_only_the_search_model_sees_does_not_count():
    strict, threat = cnn(seed=4), ThreatModel("Linf", 1e-4)
    search = Wrapped(lambda x: -strict(x))
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y = strict(x).argmax(1)
    outcome, witnesses, _ = attack_all(APGD("Linf", 1e-4, steps=10), search, x, y, threat, strict=strict)
    assert not witnesses
    assert bool((outcome == Outcome.ROBUST).all())


def test_the_models_output_is_not_written_to():
    """The reference overwrites the true class's logit with -inf in place."""
    outputs = []

    def remember(x):
        outputs.append(z := x.flatten(1)[:, :3] * 1)
        return z

    x = torch.rand(8, 1, 4, 4)
    y = x.flatten(1)[:, :3].argmax(1)
    attack_all(Square("Linf", 0.1, queries=5), Wrapped(remember), x, y, ThreatModel("Linf", 0.1))
    assert all(bool(z.isfinite().all()) for z in outputs)


def test_dlr_is_finite_with_finite_gradients_on_ties():
    """Three equal largest logits make the textbook denominator 0."""
    logits = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0], [5, 5, 5, -1]])
    y, target = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])
    for objective in (lambda z: dlr(z, y), lambda z: targeted_dlr(z, y, target)):
        result = evaluate(lambda x: x.flatten(1), logits.reshape(3, 1, 2, 2), objective)
        assert bool(result.loss.isfinite().all())
        assert bool(result.gradient.isfinite().all())
        assert float(result.gradient[[0, 2]].abs().max()) <= 2e6


def test_objectives_against_naive_formulas():
    z = torch.randn(200, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, t = torch.randint(7, (200,), generator=torch.Generator().manual_seed(1)), None
    t = (y + 3) % 7
    for k in range(200):
        row = z[k].tolist()
        others = [value for j, value in enumerate(row) if j != y[k]]
        top = sorted(row, reverse=True)
        m = max(others) - row[y[k]]
        assert float(margin(z, y)[k]) == pytest.approx(m)
        assert float(dlr(z, y)[k]) == pytest.approx(m / (top[0] - top[2]))
        targeted = (row[t[k]] - row[y[k]]) / (top[0] - (top[2] + top[3]) / 2)
        assert float(targeted_dlr(z, y, t)[k]) == pytest.approx(targeted)
    assert torch.equal(misclassified(z, y), z.argmax(1) != y)


def test_a_failed_step_can_be_repeated():
    """`step` leaves the state it was given as it was."""
    model = cnn()
    x = torch.rand(6, 1, 8, 8)
    with torch.no_grad():
        examples = Examples(x, model(x).argmax(1), torch.arange(6), model(x))
    for name in ATTACK_NAMES:
        for norm in ("Linf", "L2", "L1"):
            attack = ATTACKS[name](AuditPlan(ThreatModel(norm, 0.1)))
            state = attack.start(examples, torch.zeros(6, dtype=torch.int64))
            for _ in range(3):
                before = replace(state, **{k: v.clone() for k, v in vars(state).items()})
                after = attack.step(model, state)
                assert all(torch.equal(v, vars(before)[k]) for k, v in vars(state).items()), name
                state = after


class _Rotating(nn.Module):
    """Its training mode would change its statistics."""

    def __init__(self):
        super().__init__()
        self.inner = cnn()

    def forward(self, x):
        return self.inner(x)


def test_batch_norm_statistics_stay_as_they_were():
    """The reference changes them when the model was left in training mode."""
    from robaudit.fast import search_model

    model = _Rotating().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    search = search_model(model, CPU)
    assert not any(module.training for module in search.modules())
    x = torch.rand(16, 1, 8, 8)
    with torch.no_grad():
        y = search(x).argmax(1)
    attack_all(APGD("Linf", 0.1, steps=5), search, x, y, ThreatModel("Linf", 0.1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_point_with_an_infinite_logit_is_not_followed():
    result = evaluate(
        lambda x: torch.cat([x.flatten(1), 2 * x.flatten(1), x.flatten(1) / 0], 1),
        torch.ones(1, 1, 1, 1),
        lambda z: z[:, 1] - z[:, 0],
    )
    assert result.loss.tolist() == [float("-inf")]
    assert result.gradient.tolist() == [[[[0.0]]]]


@pytest.mark.parametrize("name", ATTACK_NAMES)
def test_l1_on_images_of_few_pixels(name):
    """The reference divides by zero below 5 pixels."""
    model, threat = two_class_linear(size=9), ThreatModel("L1", 0.5)
    x = torch.rand(10, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    attack = ATTACKS[name](plan(threat, square_queries=60, fab_steps=10, apgd_steps=10))
    outcome, witnesses, _ = attack_all(attack, model, x, model(x).argmax(1), threat)
    assert witnesses
    assert bool((outcome != Outcome.NONFINITE).all())
