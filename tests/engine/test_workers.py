"""Several workers on one queue give what one gives, and stop together."""

import threading

import pytest
import torch

from robaudit.attacks import ATTACKS, Examples
from robaudit.attacks.square import Square
from robaudit.engine import Engine
from robaudit.engine.runs import Runs
from robaudit.engine.workers import work_together
from robaudit.evidence import Outcome
from robaudit.plan import ATTACK_NAMES, AuditPlan, Budget, ThreatModel
from tests.models import Wrapped, cnn

THREAT = ThreatModel("Linf", 0.05)
PLAN = AuditPlan(THREAT, budget=Budget(apgd_steps=10, fab_steps=5, square_queries=30, targets=2))


def outcomes(name, model, x, workers, slots=4):
    with torch.no_grad():
        logits = model(x)
    examples = Examples(x, logits.argmax(1), torch.arange(len(x)), logits)
    found = []
    main = threading.get_ident()

    def retire(retired):
        assert threading.get_ident() == main, "files and progress belong to the calling thread"
        found.extend(
            zip(retired.rows.tolist(), retired.outcome.tolist(), retired.steps.tolist(), strict=True)
        )

    Engine(model, model, THREAT, slots, torch.device("cpu"), workers).run(
        ATTACKS[name](PLAN), examples, retire
    )
    return sorted(found)


@pytest.mark.parametrize("name", ATTACK_NAMES)
def test_workers_change_nothing(name):
    model, x = cnn(seed=4), torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    alone = outcomes(name, model, x, 1)
    assert [row for row, _, _ in alone] == list(range(30))
    for workers in (2, 3):
        assert outcomes(name, model, x, workers) == alone
    assert outcomes(name, model, x, 64) == alone, "more workers than examples"


def test_an_error_of_one_worker_stops_all():
    model, calls = cnn(), []

    def failing(x):
        calls.append(len(x))
        if len(calls) == 9:
            raise ValueError("the ninth call")
        return model(x)

    with pytest.raises(ValueError, match="the ninth call"):
        outcomes("square", Wrapped(failing), torch.rand(200, 1, 8, 8), 2)
    assert len(calls) < 20
    assert threading.active_count() == 1 or not any("run" in t.name for t in threading.enumerate())


def test_an_error_while_taking_over_stops_the_workers():
    runs = Runs(torch.ones(10**5, 1, dtype=torch.bool))

    def work(give):
        while not runs.closed:
            rows, _ = runs.pull(torch.full((10,), -1))
            give(rows)

    def refuse(part):
        raise OSError(f"disk full at {int(part[0])}")

    with pytest.raises(OSError, match="disk full at"):
        work_together([work, work], runs.close_down, refuse)
    assert not [thread for thread in threading.enumerate() if thread.daemon and "(run)" in thread.name]


def test_workers_with_too_few_examples_are_not_begun(monkeypatch):
    """Short steps are the interpreter's work; two workers on a tiny network took longer than one."""
    monkeypatch.setattr(
        "robaudit.engine.engine.work_together", lambda *_: pytest.fail("more than one worker")
    )
    model, x = cnn(seed=4), torch.rand(30, 1, 8, 8)
    with torch.no_grad():
        logits = model(x)
    examples = Examples(x, logits.argmax(1), torch.arange(30), logits)
    engine = Engine(model, model, THREAT, 16, torch.device("cpu"), workers=2, least=128)
    engine.run(ATTACKS["square"](PLAN), examples, lambda _: None)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("restarts", [1, 2])
def test_queries_tried_at_once_change_nothing(norm, restarts):
    weights = torch.randint(-3, 4, (10, 3, 8, 8), generator=torch.Generator().manual_seed(0)).float()

    def model(x):
        # Sums of whole numbers are exact, so the batch cannot change a margin by rounding.
        levels = (x * 256).round()
        return torch.stack([(levels * row).flatten(1).sum(1) for row in weights], 1)

    x = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    logits = model(x)
    examples = Examples(x, logits.argmax(1), torch.arange(len(x)), logits)
    threat = ThreatModel(norm, {"Linf": 0.02, "L2": 0.3}[norm])

    def attacked(slots, tries):
        found = {}

        def retire(retired):
            for row, *result in zip(
                retired.rows.tolist(), retired.outcome.tolist(), retired.steps.tolist(),
                retired.forwards.tolist(), strict=True,
            ):  # fmt: skip
                found[row] = result
            for row, witness in zip(retired.rows.tolist(), retired.witness, strict=False):
                found[row].append(witness.sum().item())

        attack = Square(norm, threat.eps, queries=150, restarts=restarts, tries=tries)
        Engine(Wrapped(model), Wrapped(model), threat, slots, torch.device("cpu")).run(
            attack, examples, retire
        )
        return found

    alone, at_once = attacked(4, 1), attacked(64, 8)
    assert 0 < sum(outcome == Outcome.BROKEN for outcome, *_ in alone.values()) < 12
    for row, (outcome, steps, forwards, *witness) in alone.items():
        assert (outcome, steps, *witness) == (*at_once[row][:2], *at_once[row][3:])
        assert forwards == steps <= at_once[row][2], "every query tried is counted"
    assert any(at_once[row][2] > steps for row, (_, steps, *_) in alone.items())
