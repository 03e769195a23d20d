"""The judgement of readings and what the healers make of them, on made-up runs whose answer is known."""

import json

import pytest

from robaudit.training import TrainSettings
from robaudit.training.healer import BATCHES, AutoHealer, Judged, PaperHealer, make_healer
from robaudit.training.watch import Reading, Watch, robust

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


@pytest.mark.parametrize(("sure", "masked"), [(True, True), (False, False)])
def test_a_suspect_reading_is_masked_only_where_it_is_confirmed(sure, masked):
    watch, asked = Watch(), []

    def confirm():
        asked.append(1)
        return sure, "Square says so"

    for item in HEALTHY:
        watch.observe(*item, confirm)
    assert not asked, "a healthy run costs no black-box attack"
    reading = watch.observe(0.12, 0.6, confirm)
    assert asked == [1]
    assert reading.masked == masked
    assert ("Square says so" in reading.reason) == masked
    assert watch.observe(*MASKED, confirm).masked == masked


def test_the_papers_healer_is_algorithm_1():
    """Line by line: noise in exactly ten batches of the epoch after one whose FOSC is over the threshold."""
    healer = PaperHealer(0.1)
    foscs, epoch_batches = [0.05, 0.2, 0.3, 0.1, 0.02], 13
    noisy, best = [], []
    for fosc in foscs:
        count = 0
        for _ in range(epoch_batches):
            count += healer.treatment().noise == 0.1
            healer.on_batch(0.9, 0.1)
        noisy.append(count)
        judged = Judged(Reading(True), fosc)
        best.append(healer.acceptable(judged))
        assert not healer.on_epoch(judged)
    assert noisy == [0, 0, 10, 10, 0]
    assert best == [True, False, False, True, True]


def test_the_automatic_healer_begins_within_batches_and_stops():
    healer = AutoHealer(warm_up=40)
    for k in range(200):
        assert not healer.on_batch(0.15 + 0.01 * (k % 5), 0.6 - 0.01 * (k % 3))
    alarms = [healer.on_batch(0.6, 0.2) for _ in range(10)]
    assert any(alarms)
    assert healer.treatment().noise > 0
    for _ in range(BATCHES):
        healer.on_batch(0.15, 0.6)
    assert healer.treatment().noise == 0


def test_masked_epochs_are_rolled_back_and_the_dose_grows_until_healthy_ones_follow():
    healer = AutoHealer(warm_up=40)
    masked, healthy = Judged(Reading(True, "x"), 1.0), Judged(Reading(False), 0.1)
    doses = []
    for _ in range(6):
        assert healer.on_epoch(masked)
        assert not healer.acceptable(masked)
        healer.left = 0
        doses.append(healer.treatment().noise)
    assert doses == [0, 0.1, 0.2, 0.3, 0.3, 0.3]
    for _ in range(3 * 4):
        assert not healer.on_epoch(healthy)
    healer.left = 0
    assert healer.treatment() == make_healer(TrainSettings("digits"), 5).treatment()


def test_healers_go_on_from_their_states():
    for make in (lambda: AutoHealer(3), lambda: PaperHealer(0.1)):
        one, two = make(), make()
        for k in range(100):
            one.on_batch(0.15 + (k > 80) * 0.5, 0.6 - (k > 80) * 0.5)
        one.on_epoch(Judged(Reading(True), 1.0))
        two.load(json.loads(json.dumps(one.state())))
        assert one.treatment() == two.treatment()
        assert one.state() == two.state()
