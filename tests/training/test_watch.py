"""The judgement of readings, on made-up runs whose answer is known."""

import json

import pytest

from robaudit.training.watch import Watch, robust

HEALTHY = [(0.09 + 0.002 * (k % 3), 0.75 - 0.003 * (k % 4)) for k in range(60)]
MASKED = (0.4, 0.3)


def test_robust_spread_is_the_normal_deviation_and_ignores_outliers():
    values = [k / 1000 for k in range(-1000, 1001)]
    assert robust(values)[1] == pytest.approx(1.4826 * 0.5, rel=1e-2)
    assert robust([1.0] * 9 + [100.0]) == (1.0, 0.0)


def test_a_healthy_run_is_never_masked_and_a_jump_is_in_the_same_reading():
    watch = Watch()
    assert not any(watch.observe(*item).masked for item in HEALTHY)
    reading = watch.observe(0.19, 0.63)  # inside the absolute bounds, far from this run's past
    assert reading.masked
    assert "own past" in reading.reason
    assert not watch.observe(*HEALTHY[0]).masked
    assert not watch.observe(0.19, 0.75).masked, "FOSC alone is not masking"
    assert not watch.observe(0.09, 0.63).masked, "SGCS alone is not masking either"


@pytest.mark.parametrize("reading", [(0.22, 0.24), (0.37, 0.39), (0.02, 0.07), (float("nan"), 0.5)])
def test_masked_from_the_first_reading(reading):
    """As measured on a masked LeNet, an FGSM-trained network and a distilled one."""
    assert Watch().observe(*reading).masked


@pytest.mark.parametrize("reading", [(0.044, 0.734), (0.129, 0.788), (0.28, 0.81), (0.161, 0.801)])
def test_honest_and_untrained_networks_are_not(reading):
    """As measured on adversarially trained networks and on one that has learned nothing yet."""
    assert not Watch().observe(*reading).masked


def test_recovery_is_noticed_once_and_masked_readings_are_no_past():
    watch = Watch()
    for item in HEALTHY[:10]:
        watch.observe(*item)
    before = watch.jump()
    assert all(watch.observe(*MASKED).masked for _ in range(100))
    assert watch.jump() == before
    assert watch.observe(*HEALTHY[0]).recovered
    assert not watch.observe(*HEALTHY[0]).recovered


def test_a_watch_goes_on_from_its_state():
    one, two = Watch(), Watch()
    for item in [*HEALTHY, MASKED]:
        one.observe(*item)
    two.load(json.loads(json.dumps(one.state())))
    assert one.observe(*HEALTHY[1]) == two.observe(*HEALTHY[1])
    assert one.state() == two.state()
