"""How many slots and workers the probe finds, for networks whose speed is given."""

import math

import pytest
import torch

from robaudit.engine import tune
from robaudit.engine.tuning import Paces, out_of_memory
from tests.models import cnn


@pytest.fixture
def found(monkeypatch):
    """The tuning on two cores of a network that takes `seconds` of a batch and this many `each` example."""

    def tuning(each, seconds=0.0):
        monkeypatch.setattr("robaudit.engine.tuning.rate", lambda _, x: len(x) / (seconds + each * len(x)))
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            return tune(cnn(), torch.rand(1, 1, 8, 8), side_by_side=True)
        finally:
            assert torch.get_num_threads() == 2
            torch.set_num_threads(before)

    return tuning


@pytest.mark.parametrize("each", [0.1, 0.005, 1.2e-3, 1.1e-4, 2e-5])
def test_every_core_has_a_worker_where_a_step_is_not_the_interpreters(found, each):
    """ResNet-20's steps of 40 ms were taken for too short to share, and one of two cores was idle."""
    tuning = found(each)
    assert (tuning.workers, tuning.threads) == (2, 1)
    assert tuning.least == math.ceil(0.005 / each) <= tuning.slots


def test_a_network_of_microseconds_gets_one_worker(found):
    tuning = found(2e-6)
    assert (tuning.workers, tuning.threads) == (1, 1)


def test_the_attacks_own_work_asks_for_larger_batches(found):
    """Where the passes take a millisecond, three more of the attack's own are worth sharing between more examples."""
    assert found(each=1e-4).slots > found(each=1e-2).slots == 8


def test_other_errors_are_not_memory():
    assert not out_of_memory(RuntimeError("shapes differ"))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))


@pytest.mark.parametrize(("one", "two", "taken"), [(1.0, 0.6, 2), (1.0, 30.0, 1)])
def test_a_lone_worker_keeps_to_the_number_of_threads_that_was_faster(one, two, taken):
    """Beside a busy neighbour two threads that wait for each other took thirty times as long as one."""
    paces, counts = Paces(), []
    for _ in range(12):
        counts.append(paces.faster(2, 1))
        paces.note(counts[-1], {1: one, 2: two}[counts[-1]])
    assert counts == [2] * 3 + [1] * 3 + [taken] * 6


def test_no_more_threads_are_tried_than_the_process_may_use(monkeypatch):
    monkeypatch.setattr("robaudit.engine.tuning.usable_cores", lambda: 1)
    monkeypatch.setattr("robaudit.engine.tuning.rate", lambda _, x: 1e4 * len(x))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        tuning = tune(cnn(), torch.rand(1, 1, 8, 8), side_by_side=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (tuning.workers, tuning.threads) == (1, 1)
