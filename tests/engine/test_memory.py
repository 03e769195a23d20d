"""Memory that runs out halves the batch and loses nothing."""

import time

import pytest
import torch

from robaudit.attacks import ATTACKS, Examples
from robaudit.engine import Engine, Tuning, tune
from robaudit.errors import RobauditError
from robaudit.plan import ATTACK_NAMES, AuditPlan, Budget, ThreatModel
from tests.models import Wrapped, cnn

THREAT = ThreatModel("Linf", 0.05)
BUDGET = Budget(apgd_steps=10, fab_steps=5, square_queries=30, targets=2)


def limited(model, most, error):
    """A model that holds `most` examples at once."""

    def forward(x):
        if len(x) > most:
            raise error
        return model(x)

    return Wrapped(forward)


def outcomes(name, search, strict, x):
    found = torch.full((len(x),), -1)
    logits = torch.cat([strict(part) for part in x.split(5)])
    examples = Examples(x, logits.argmax(1), torch.arange(len(x)), logits)
    engine = Engine(search, strict, THREAT, 32, torch.device("cpu"))
    engine.run(
        ATTACKS[name](AuditPlan(THREAT, budget=BUDGET)),
        examples,
        lambda r: found.__setitem__(r.rows, r.outcome),
    )
    return found


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
@pytest.mark.parametrize("name", ATTACK_NAMES)
def test_nothing_is_lost(name, error):
    model, x = cnn(seed=4), torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    plenty = outcomes(name, model, model, x)
    assert int(plenty.min()) >= 0
    assert torch.equal(outcomes(name, limited(model, 5, error), model, x), plenty)


def test_one_example_too_many_is_a_clear_error():
    model, x = cnn(), torch.rand(4, 1, 8, 8)
    with pytest.raises(RobauditError, match="memory does not hold one example"):
        outcomes("square", limited(model, 0, torch.OutOfMemoryError("CUDA out of memory")), model, x)


def test_other_errors_are_not_taken_for_memory():
    model, x = cnn(), torch.rand(4, 1, 8, 8)
    with pytest.raises(RuntimeError, match="shapes"):
        outcomes("square", limited(model, 0, RuntimeError("shapes differ")), model, x)


def test_the_probe_stays_within_memory_and_leaves_the_threads_alone():
    before = torch.get_num_threads()
    found = tune(limited(cnn(), 40, MemoryError()), torch.rand(1, 1, 8, 8))
    assert isinstance(found, Tuning)
    assert 1 <= found.slots <= 32
    assert torch.get_num_threads() == before


def test_the_probe_does_not_begin_what_it_has_no_time_for():
    """With a model that takes 0.2 s an image, 32 images would take a dozen seconds."""
    sizes, inner = [], cnn()

    def slow(x):
        sizes.append(len(x))
        time.sleep(0.2 * len(x))
        return inner(x)

    tune(Wrapped(slow), torch.rand(1, 1, 8, 8), side_by_side=True)
    assert max(sizes) == 8
