"""What a search by rounded answers misses is found when the runs that came close are made again."""

import pytest
import torch

from robaudit.attacks import ATTACKS, Examples
from robaudit.engine import Engine
from robaudit.evidence import Outcome
from robaudit.plan import AuditPlan, Budget, ThreatModel
from tests.models import Wrapped, cnn

THREAT = ThreatModel("Linf", 0.05)
PLAN = AuditPlan(THREAT, budget=Budget(apgd_steps=10, fab_steps=8, square_queries=60, targets=2))


def blunt(model, label):
    """Always answers `label`, ahead by a hundredth of the logits' spread."""

    def answer(x):
        logits = model(x)
        others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
        lead = 0.01 * (others.amax(1) - others.amin(1))
        first = (others.amax(1) + lead)[:, None]
        return torch.cat([logits[:, :label], first, logits[:, label + 1 :]], dim=1)

    return answer


def run(name, engine, examples):
    found = {}

    def retire(group):
        columns = (group.rows, group.outcome, group.steps, group.forwards)
        for row, *rest in zip(*(column.tolist() for column in columns), strict=True):
            assert row not in found, "each example leaves once"
            found[row] = rest

    engine.run(ATTACKS[name](PLAN), examples, retire)
    return found


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t", "square"])
def test_close_runs_are_made_again_exactly(name):
    model, cpu = Wrapped(cnn(seed=4)), torch.device("cpu")
    x = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        label = int(model(x).argmax(1).mode().values)
        x = x[model(x).argmax(1) == label][:12]
        logits = model(x)
    examples = Examples(x, torch.full((12,), label), torch.arange(12), logits)
    rounded = Wrapped(blunt(model, label))
    exactly = run(name, Engine(model, model, THREAT, 12, cpu), examples)
    broken = {row for row, (outcome, *_) in exactly.items() if outcome == Outcome.BROKEN}
    assert broken, "the test needs an attack that succeeds"
    alone = run(name, Engine(rounded, model, THREAT, 12, cpu), examples)
    assert not any(outcome == Outcome.BROKEN for outcome, *_ in alone.values())
    both = run(name, Engine(rounded, model, THREAT, 12, cpu, exact=model), examples)
    assert sorted(both) == list(range(12))
    assert {row for row, (outcome, *_) in both.items() if outcome == Outcome.BROKEN} == broken
    for row, (_, steps, forwards) in both.items():
        assert steps == alone[row][1] + exactly[row][1], "both passes are counted"
        assert forwards == alone[row][2] + exactly[row][2]
