"""Every run is handed out once, and the first in an example's order that breaks decides."""

import pytest
import torch
from torch import tensor

from robaudit.attacks import ATTACKS, Examples
from robaudit.engine import Engine
from robaudit.engine.runs import Ended, Runs
from robaudit.engine.workers import work_together
from robaudit.plan import AuditPlan, Budget, ThreatModel
from tests.models import Wrapped, cnn


def end(runs, row, turn, broken=False, steps=10):
    """One run over; whether its example is, too."""
    flag, count = tensor([False]), tensor([steps])
    witness = torch.full((int(broken), 1, 2, 2), float(turn))
    met = tensor([-float(turn)])
    report = Ended(tensor([row]), tensor([turn]), count, count, flag, flag, met, tensor([broken]), witness)
    return bool(runs.end(report))


def test_runs_are_handed_out_once():
    runs, got = Runs(torch.ones(300, 3, dtype=torch.bool)), []

    def work(give):
        had = torch.full((7,), -1)
        while bool(((had := runs.pull(had)) and (had[0] >= 0)).any()):
            give(list(zip(*(part.tolist() for part in had), strict=True)))
            had = had[0]

    work_together([work] * 4, runs.close_down, got.extend)
    assert sorted(pair for pair in got if pair[0] >= 0) == [
        (row, run) for row in range(300) for run in range(3)
    ]


def test_a_slot_goes_on_with_its_example_and_idle_ones_begin_later_runs():
    runs = Runs(tensor([[True, False, True, True], [True, True, False, False]]))
    nobody = torch.full((2,), -1)
    rows, turns = runs.pull(nobody)
    assert (rows.tolist(), turns.tolist()) == ([0, 1], [0, 0]), "those that nobody has begun come first"
    rows, turns = runs.pull(nobody)
    assert (rows.tolist(), turns.tolist()) == ([1, 0], [1, 2]), "then the lowest run that waits"
    rows, turns = runs.pull(tensor([0, 0]))
    assert (rows.tolist(), turns[0].item()) == ([0, -1], 3)
    assert runs.pull(nobody)[0].tolist() == [-1, -1]


def test_the_first_run_that_breaks_decides():
    runs = Runs(torch.ones(1, 4, dtype=torch.bool))
    runs.pull(torch.full((3,), -1))
    assert not end(runs, 0, 2, broken=True, steps=3)
    assert runs.pull(tensor([0]))[0].tolist() == [-1], "what comes after the break is not begun"
    assert not end(runs, 0, 1, broken=True, steps=4)
    assert end(runs, 0, 0, steps=10)
    assert (int(runs.broken[0]), int(runs.steps(tensor([0]))), int(runs.tried[0])) == (1, 14, 17)
    assert runs.witnesses(tensor([0])).unique().tolist() == [1.0]


@pytest.mark.parametrize("name", ["apgd-t", "fab-t"])
def test_runs_side_by_side_change_nothing(name):
    """One example at a time gives what many slots give, which begin later targets before the earlier are over."""
    model, x = cnn(seed=4), torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(x)
    examples = Examples(x, logits.argmax(1), torch.arange(len(x)), logits)
    threat = ThreatModel("Linf", 0.03)
    attack = ATTACKS[name](AuditPlan(threat, budget=Budget(apgd_steps=20, fab_steps=8, targets=9)))
    calls = []

    def counting(part):
        calls.append(len(part))
        return model(part)

    def attacked(slots, workers):
        found = {}

        def retire(retired):
            for place, row in enumerate(retired.rows.tolist()):
                witness = retired.witness[place].numpy().tobytes() if len(retired.witness) else b""
                found[row] = (int(retired.outcome[place]), int(retired.steps[place]), len(witness))

        Engine(Wrapped(counting), model, threat, slots, torch.device("cpu"), workers).run(
            attack, examples, retire
        )
        return found

    alone = attacked(1, 1)
    steps_alone = len(calls)
    assert len({outcome for outcome, *_ in alone.values()}) == 2
    assert attacked(200, 1) == alone
    assert len(calls) - steps_alone < steps_alone / 10, "the runs went side by side"
    assert attacked(16, 2) == alone


def test_a_worker_is_alone_once_the_others_have_left():
    runs = Runs(torch.ones(1, 1, dtype=torch.bool), workers=2)
    assert not runs.alone
    runs.leave()
    assert runs.alone


def test_a_lone_worker_takes_the_threads_of_all(monkeypatch):
    # Where they are not slower, which `tests/engine/test_tuning.py` is about.
    monkeypatch.setattr("robaudit.engine.slots.Paces.faster", lambda _, many, few: many)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model, x = cnn(seed=4), torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        logits = model(x)
    examples = Examples(x, logits.argmax(1), torch.arange(1), logits)
    plan = AuditPlan(ThreatModel("Linf", 1e-4), budget=Budget(square_queries=20))

    def threads(least):
        seen = set()

        def watching(part):
            seen.add(torch.get_num_threads())
            return model(part)

        engine = Engine(Wrapped(watching), model, plan.threat, 8, torch.device("cpu"), workers=2, least=least)
        engine.run(ATTACKS["square"](plan), examples, lambda _: None)
        assert torch.get_num_threads() == 1, "as before afterwards"
        return seen

    try:
        assert threads(least=9) == {1}, "a step of 8 is not worth sharing"
        assert threads(least=8) == {2}
    finally:
        torch.set_num_threads(before)
