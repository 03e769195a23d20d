"""When an epoch became masked, what the healers make of it, and which trial is kept, on made-up runs."""

import json
import math
from dataclasses import replace

import pytest
import torch

from robaudit.training import TrainSettings
from robaudit.training.healer import (
    PAUSE_EPOCHS,
    TREATED_EPOCHS,
    AutoHealer,
    Judged,
    PaperHealer,
    make_healer,
)
from robaudit.training.judging import Judge
from robaudit.training.metrics import Measured
from robaudit.training.treatments import NONE, TREATMENTS, treatments_for
from robaudit.training.trials import Trial, best_of, logged, summary, untreated
from robaudit.training.validation import Look
from robaudit.training.watch import Reading
from robaudit.training.worst_case import Standing

SETTINGS = TrainSettings("digits", heal="auto")
CALM, MASKED = Judged(Reading(False), 0.1), Judged(Reading(True, "x"), 1.0)


def look(fosc=0.09, sgcs=0.75, pgd10=0.5, robust=0.45, square=0.02, count=200):
    """A network of which PGD-10 leaves this many examples, the worst case fewer, Square this many of the difference."""
    places = torch.arange(count) / count
    left, broken = places < robust, (places >= robust) & (places < robust + square)
    standing = Standing(left, left, broken, count)
    return Look(Measured(0.9, pgd10, 0.1, fosc, sgcs, 0.0), places < pgd10, standing)


JUMP = {"fosc": 0.3, "sgcs": 0.4, "pgd10": 0.6, "robust": 0.3, "square": 0.2}


def test_a_jump_in_everything_is_masking():
    judge = Judge()
    assert not any(judge.observe(look(robust=0.45 - 0.01 * (k % 2))).masked for k in range(10))
    reading = judge.observe(look(**JUMP))
    assert reading.masked
    assert "at most 6.0" in reading.reason
    assert judge.observe(look()).recovered


@pytest.mark.parametrize(
    ("usual", "masked"),
    [({"fosc": 0.09}, True), ({"sgcs": 0.75}, False), ({"pgd10": 0.35}, False), ({"square": 0.02}, False)],
    ids=["FOSC as before", "SGCS as before", "gap as before", "Square's as before"],
)
def test_masking_needs_gradients_that_disagree_and_both_gaps(usual, masked):
    """FOSC and SGCS alone are noise; gaps alone are a weak measure."""
    judge = Judge()
    for _ in range(10):
        judge.observe(look())
    assert judge.observe(look(**JUMP | usual)).masked == masked


def test_a_measure_that_is_weak_from_the_start_is_no_masking():
    """As on digits at eps 0.3: FOSC and SGCS are suspect and the gap is large, and so they were in calm epochs."""
    judge = Judge()
    readings = [
        judge.observe(look(0.15 + 0.002 * k, 0.6 - 0.002 * k, 0.4, 0.4 - 0.01 * k, 0.005 * k))
        for k in range(18)
    ]
    assert not any(reading.masked for reading in readings)
    assert readings[-1].weak
    assert not readings[2].weak


#: Normalised FOSC, SGCS, PGD-10, gap: a ResNet-18 of CIFAR-100 at eps 16/255, beta 1 (docs/results/gpu.md), every
#: third epoch.
RUGGED = (
    (0.0371, 0.829, 0.018, 0.006), (0.0370, 0.807, 0.038, 0.016), (0.0449, 0.774, 0.022, 0.000),
    (0.0506, 0.753, 0.036, 0.018), (0.1153, 0.699, 0.038, 0.014), (0.0557, 0.720, 0.030, 0.016),
    (0.0729, 0.686, 0.042, 0.023), (0.1300, 0.646, 0.034, 0.012), (0.1372, 0.627, 0.058, 0.022),
    (0.1889, 0.574, 0.054, 0.016), (0.2281, 0.537, 0.054, 0.014), (0.2112, 0.554, 0.058, 0.018),
    (0.2379, 0.525, 0.056, 0.020), (0.2493, 0.520, 0.050, 0.020), (0.2476, 0.508, 0.048, 0.008),
    (0.2910, 0.481, 0.046, 0.016), (0.3568, 0.447, 0.044, 0.000),
)  # fmt: skip


def test_a_rugged_surface_that_deceives_nobody_is_no_masking():
    judge = Judge()
    readings = [judge.observe(look(f, s, pgd10, pgd10 - gap, 0.0, 500)) for f, s, pgd10, gap in RUGGED]
    assert not any(reading.masked or reading.weak for reading in readings)
    assert [reading.rugged for reading in readings] == [False] * 10 + [True] * 7
    assert readings[-1].reason.startswith("normalised FOSC 0.357 and SGCS 0.447")


def test_a_network_that_guesses_is_neither_rugged_nor_any_epochs_past():
    """Its gradients vanish, so that their SGCS is 0; the epochs after a collapse are judged by those before it."""
    judge, calm = Judge(), Judge()
    for _ in range(10):
        judge.observe(look())
        calm.observe(look())
    guessing = replace(look(0.0, 0.0, 0.1, 0.1, 0.0), at_chance=True)
    assert [judge.observe(guessing) for _ in range(5)] == [Reading()] * 5
    assert judge.observe(look(**JUMP)) == calm.observe(look(**JUMP))
    assert judge.observe(guessing) == Reading()
    assert judge.observe(look()).recovered


def test_an_epoch_that_diverged_is_no_past():
    """Its FOSC is not a number; earlier versions kept it."""
    judge, again = Judge(), Judge()
    for value in (0.09, math.nan, 0.1, 0.09, 0.1):
        judge.observe(look(fosc=value))
    state = json.loads(json.dumps(judge.state()))
    assert len(state["watch"]["healthy"]) == 4
    again.load(state | {"watch": state["watch"] | {"healthy": [*state["watch"]["healthy"], [math.nan, 0.9]]}})
    assert again.observe(look(**JUMP)) == judge.observe(look(**JUMP))


def test_a_judge_goes_on_from_its_state():
    one, two = Judge(), Judge()
    for k in range(12):
        one.observe(look(robust=0.4 + 0.001 * k))
    two.load(json.loads(json.dumps(one.state())))
    assert one.observe(look(**JUMP)) == two.observe(look(**JUMP))
    assert one.state() == two.state()


def test_the_papers_healer_is_algorithm_1():
    """Line by line: noise in exactly ten batches of the epoch after one whose FOSC is over the threshold."""
    healer = PaperHealer(0.1)
    foscs, epoch_batches = [0.05, 0.2, 0.3, 0.1, 0.02], 13
    noisy, best = [], []
    for fosc in foscs:
        count = 0
        for _ in range(epoch_batches):
            count += healer.treatment().noise == 0.1
            healer.on_batch()
        noisy.append(count)
        judged = Judged(Reading(True), fosc)
        best.append(healer.acceptable(judged))
        healer.on_epoch(judged)
        assert not healer.trials()
    assert noisy == [0, 0, 10, 10, 0]
    assert best == [True, False, False, True, True]


def test_the_automatic_healer_does_nothing_to_a_calm_run():
    healer = make_healer(SETTINGS)
    for _ in range(50):
        healer.on_epoch(CALM)
        assert healer.treatment() == NONE
        assert not healer.trials()


def test_a_treatment_that_helped_is_kept_for_a_while_and_longer_the_next_time():
    healer = AutoHealer(SETTINGS)
    for epochs in (TREATED_EPOCHS, 2 * TREATED_EPOCHS):
        healer.on_epoch(MASKED)
        assert healer.trials()[0] == NONE
        assert len(healer.trials()) == len(TREATMENTS)
        healer.on_trials(TREATMENTS[3])
        under = []
        for _ in range(10):
            assert not healer.trials()
            under.append(healer.treatment())
            healer.on_epoch(CALM)
        assert under == [TREATMENTS[3]] * epochs + [NONE] * (10 - epochs)


def test_where_nothing_helped_the_run_is_left_alone_and_for_longer_the_next_time():
    healer = AutoHealer(SETTINGS)
    quiet = []
    for _ in range(2):
        healer.on_epoch(MASKED)
        assert healer.trials()
        healer.on_trials(NONE)
        epochs = 0
        healer.on_epoch(MASKED)
        while not healer.trials():
            assert healer.treatment() == NONE
            healer.on_epoch(MASKED)
            epochs += 1
        healer.wanted = False
        quiet.append(epochs)
    assert quiet == [PAUSE_EPOCHS, 2 * PAUSE_EPOCHS]


@pytest.mark.parametrize(("method", "names"), [
    ("trades", {"back", "noise", "cross-entropy inside", "larger beta", "smaller rate", "starts in the whole ball"}),
    ("trades-ce", {"back", "noise", "larger beta", "smaller rate"}),
    ("pgd-at", {"back", "noise", "smaller rate"}),
])  # fmt: skip
def test_only_what_makes_a_difference_is_tried(method, names):
    found = treatments_for(replace(SETTINGS, method=method))
    assert found[0] == NONE
    assert {item.name for item in found[1:]} == names


def trial(number, robust, **changes):
    return Trial(TREATMENTS[number], replace(look(robust=robust), **changes), {})


def test_the_trial_with_the_most_robust_examples_wins_and_a_tie_is_left_alone():
    assert best_of([trial(0, 0.3), trial(1, 0.35), trial(2, 0.4), trial(3, 0.35)]).treatment == TREATMENTS[2]
    tie = [trial(0, 0.4), trial(1, 0.4), trial(2, 0.3)]
    assert best_of(tie).treatment == NONE
    assert "no treatment does better than none" in summary(best_of(tie), tie)
    row = logged(tie[1], tie)
    assert row["rolled_back"]
    assert row["tried"] == {"untreated": 0.4, "back": 0.4, "noise": 0.3}


def test_a_trial_that_ends_in_guessing_is_no_better_than_one_that_does_not():
    """A constant answer is right on a tenth of the examples, whatever the attack."""
    found = [trial(0, 0.1, at_chance=True), trial(1, 0.06), trial(2, 0.08)]
    assert best_of(found).treatment == TREATMENTS[2]
    assert "untreated 10.0 by guessing, " in summary(best_of(found), found)
    assert untreated(found) is None
    assert untreated([trial(0, 0.1)]) is not None
    alone = [trial(0, 0.1, at_chance=True)]
    assert best_of(alone).treatment == NONE


def test_trials_are_compared_and_shown_by_the_same_passes():
    """Many passes leave fewer examples than few do; that one trial got them says nothing against it."""
    thorough = trial(0, 0.45)
    left = thorough.look.standing
    harder = replace(left, robust=left.robust & (torch.arange(200) < 50), long=True)
    thorough = replace(thorough, look=replace(thorough.look, standing=harder))
    found = [thorough, trial(2, 0.4)]
    assert best_of(found) is thorough
    assert "untreated 45.0, noise 40.0" in summary(thorough, found)
    assert logged(thorough, found)["tried"] == {"untreated": 0.45, "noise": 0.4}


def test_masking_lasts_as_long_as_the_gaps_do():
    """FOSC and SGCS may come back first; then it is not over, and what is masked is nobody's past."""
    judge, gone = Judge(), JUMP | {"fosc": 0.09, "sgcs": 0.75}
    for _ in range(10):
        judge.observe(look())
    assert judge.observe(look(**JUMP)).masked
    readings = [judge.observe(look(**gone)) for _ in range(4)]
    assert all(reading.masked and not reading.recovered for reading in readings)
    assert "at most 5.0" in judge.observe(look(**JUMP)).reason
    assert judge.observe(look()).recovered


def test_healers_go_on_from_their_states():
    for make in (lambda: AutoHealer(SETTINGS), lambda: PaperHealer(0.1)):
        one, two = make(), make()
        one.on_epoch(MASKED)
        one.on_trials(TREATMENTS[2])
        one.on_batch()
        one.on_epoch(CALM)
        two.load(json.loads(json.dumps(one.state())))
        assert one.treatment() == two.treatment()
        assert one.state() == two.state()
