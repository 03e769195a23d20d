"""How many threads a run takes, with a clock and steps whose times are given."""

import pytest
import torch

from robaudit.engine import tuning
from robaudit.training import threads
from robaudit.training.threads import RECENT_STEPS, STALE_SECONDS, Threads

CPU = torch.device("cpu")


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def run(monkeypatch, clock):
    """A run on two cores; what is measured is in `answers`, each measurement takes a second."""
    answers, before = [], torch.get_num_threads()

    def measure(work, most):
        assert most == 2
        clock.now += 1.0
        return answers.pop(0)

    monkeypatch.setattr(threads, "fastest_threads", measure)
    monkeypatch.setattr(threads, "most_threads", lambda: 2)
    yield Threads(0, CPU, clock), answers
    torch.set_num_threads(before)


def steps(run, clock, seconds, count=RECENT_STEPS):
    again = False
    for _ in range(count):
        clock.now += seconds
        again |= run.step(seconds, lambda: None)
    return again


def test_steps_that_are_suddenly_several_times_slower_are_measured_again(run, clock):
    run, answers = run
    answers += [2, 1]
    with run.held():
        run.begin_epoch(lambda: None)
        assert torch.get_num_threads() == 2
        assert not steps(run, clock, 1.0, 100)
        assert not steps(run, clock, 2.5, 100), "not by so much"
        assert not steps(run, clock, 9.0, 1), "not for one step"
        assert steps(run, clock, 9.0)
        assert torch.get_num_threads() == 1
        assert not answers


def test_a_measurement_is_a_small_part_of_the_time_however_slow_steps_stay(run, clock):
    run, answers = run
    answers += [2] * 1000
    run.begin_epoch(lambda: None)
    steps(run, clock, 0.1, 1000)
    began = clock.now
    steps(run, clock, 1.0, 1000)
    assert 0 < len([1 for _ in range(999 - len(answers))]) <= 0.03 * (clock.now - began)


def test_an_old_measurement_is_repeated_at_an_epochs_beginning(run, clock):
    run, answers = run
    answers += [1, 2]
    run.begin_epoch(lambda: None)
    run.begin_epoch(lambda: None)
    assert len(answers) == 1
    clock.now += STALE_SECONDS + 1
    run.begin_epoch(lambda: None)
    assert not answers


@pytest.mark.parametrize(
    ("fixed", "device"), [(2, CPU), (0, torch.device("meta:0")), (0, torch.device("cuda"))]
)
def test_nothing_is_measured_where_it_is_fixed_or_on_an_accelerator(monkeypatch, fixed, device):
    monkeypatch.setattr(threads, "most_threads", lambda: 2)
    run = Threads(fixed, device)
    assert run.measured == (device.type == "meta")


def test_a_fixed_number_is_taken_and_given_back():
    before = torch.get_num_threads()
    with Threads(2, CPU).held():
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("seconds", "best"), [
    ({1: 1.0, 2: 0.6, 4: 0.4, 8: 0.39}, 4),
    ({1: 1.0, 2: 40.0}, 1),        # threads that wait for each other beside a busy neighbour
    ({1: 1.0, 2: 0.9, 4: 0.1}, 1),
    ({1: 1.0, 2: 0.5, 3: 0.3}, 3),
])  # fmt: skip
def test_more_threads_as_long_as_they_pay(monkeypatch, seconds, best):
    monkeypatch.setattr(tuning, "_pace", lambda work, count: seconds[count])
    assert tuning.fastest_threads(lambda: None, max(seconds)) == best


def test_one_slow_moment_is_not_taken_for_slow_threads(monkeypatch):
    times = iter([1.0, 1.0, 9.0, 1.0, 1.0])
    now = [0.0]

    def work():
        now[0] += next(times, 1.0)

    monkeypatch.setattr(tuning.time, "perf_counter", lambda: now[0])
    before = torch.get_num_threads()
    try:
        assert tuning._pace(work, 1) == 1.0
    finally:
        torch.set_num_threads(before)
