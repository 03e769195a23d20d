"""Robust accuracy by a worst case of few passes, and which examples it takes to say that an epoch is no better."""

from dataclasses import replace

import pytest
import torch

from robaudit.attacks import ATTACKS
from robaudit.fast import search_model
from robaudit.inputs import load_classifier, load_images
from robaudit.training.metrics import Measured, measure, plan_for
from robaudit.training.selection import Selection, behind
from robaudit.training.validation import Look
from robaudit.training.worst_case import (
    BUDGET,
    FIRST_EXAMPLES,
    HARD,
    LONG,
    MOST_EXAMPLES,
    Standing,
    WorstCase,
    stand,
)
from tests.shipped import ADVERSARIAL, DISTILLED

PLAN = plan_for(0.1, 0)


def found(path, count=120, goes_on=lambda found: True):
    images = load_images("digits", limit=count, seed=0)
    model = load_classifier(str(path), images=images)
    examples = (images.float(), images.labels, images.ids)
    measured, after_pgd = measure(model, *examples, PLAN)
    return measured, after_pgd, stand(WorstCase(model, model, examples, PLAN), after_pgd, goes_on)


def test_it_tells_a_masked_network_from_an_honest_one_by_the_attacks_of_check():
    honest, after, left = found(ADVERSARIAL)
    assert 0 <= honest.pgd10 - left.interval.value < 0.06
    assert not (left.robust & ~after).any()
    assert not (left.robust & left.square).any()
    assert left.first_gap < HARD
    masked, _, left = found(DISTILLED)
    assert masked.pgd10 - left.interval.value > 0.4
    assert left.black_box_gap > 0.2
    assert left.first_gap > HARD


def test_outcomes_do_not_depend_on_how_many_are_looked_at(monkeypatch):
    _, _, whole = found(ADVERSARIAL)
    monkeypatch.setattr("robaudit.training.worst_case.FIRST_EXAMPLES", 20)
    _, _, few = found(ADVERSARIAL, goes_on=lambda found: len(found.robust) < 80)
    assert (len(few.robust), few.whole, whole.whole) == (80, False, True)
    assert torch.equal(few.robust, whole.robust[:80])
    assert torch.equal(few.square, whole.square[:80])


def test_a_search_in_half_precision_finds_what_one_in_float32_does():
    """Both are re-checked in float32, and runs that came close are made again there."""
    images = load_images("digits", limit=60, seed=0)
    model = load_classifier(str(ADVERSARIAL), images=images)
    examples = (images.float(), images.labels, images.ids)
    rows = torch.arange(60)
    half, full = (
        WorstCase(model, search_model(model, torch.device("cpu"), kind, examples[0][:8]), examples, PLAN).of(
            rows
        )
        for kind in ("bf16", "fp32")
    )
    assert torch.equal(half[0], full[0])
    assert 20 < len(half[0]) < 60


def test_a_network_that_may_be_the_best_is_measured_in_two_rounds_on_as_many_as_choose():
    """Each round waits for its slowest example: on an accelerator that, not the passes, is what it costs."""
    made = Made(range(1000), range(1000))
    left = stand(made, torch.ones(1000, dtype=torch.bool), lambda found: True)
    assert left.whole
    assert len(left.robust) == MOST_EXAMPLES
    assert [count for _, count in made.budgets] == [FIRST_EXAMPLES, MOST_EXAMPLES - FIRST_EXAMPLES]


def test_the_passes_of_an_example_are_as_many_as_the_budget_says():
    """At most 5 % of a TRADES epoch on CIFAR where every 20th held-out example is looked at, as `benchmarks` counts."""
    attack = ATTACKS["apgd-t"](replace(PLAN, budget=BUDGET))
    passes = BUDGET.square_queries + attack.runs(10) * (BUDGET.apgd_steps + 1) * 2
    assert passes <= 170
    few, epoch = FIRST_EXAMPLES * passes, 49_000 * (1 + 10 * 2 + 2 * 3)
    assert few < 0.02 * epoch


def bools(text):
    return torch.tensor([letter == "1" for letter in text])


def standing(robust, total=None, few=None):
    robust = bools(robust)
    more = {} if few is None else {"long": True}
    return Standing(
        robust, bools(few) if few else robust, torch.zeros_like(robust), total or len(robust), **more
    )


def a_look(robust, pgd10=0.5, total=None, few=None):
    return Look(Measured(0.9, pgd10, 0.1, 0.1, 0.7, 0.0), bools(robust), standing(robust, total, few))


def test_the_lead_is_of_the_examples_that_both_know():
    assert standing("1101").lead(standing("011010")) == (2, 1)
    assert behind(standing("0000"), standing("1110"))
    assert not behind(standing("0100"), standing("1010"))


def test_networks_are_compared_by_as_many_passes():
    """A network that got only the few looked better than one that got more, and was kept (digits, eps 0.3, seed 13)."""
    more, few = standing("1000", few="1111"), standing("1100")
    assert few.lead(more) == (0, 2)
    assert few.lead(standing("1000")) == (1, 0)
    assert more.lead(standing("0111", few="0111")) == (1, 3)


def test_a_run_is_hard_to_measure_where_most_of_its_last_epochs_are():
    """One epoch of 6 points among those of 12 gets the long measure too, and one of 9 among those of 3 does not."""
    for usual, other, hard in ((0.12, 0.06, True), (0.03, 0.09, False)):
        selection = Selection("robust")
        assert selection.hard(other) == (not hard), "nothing is known of other epochs"
        for _ in range(9):
            selection.observe(replace(a_look("1"), standing=replace(standing("1"), first_gap=usual)))
        assert selection.hard(other) == hard
    after = torch.ones(100, dtype=torch.bool)
    made = Made(list(range(95)), list(range(70)))
    assert not stand(made, after, lambda found: True).long
    left = stand(made, after, lambda found: True, lambda gap: gap == 0.05)
    assert (int(left.robust.sum()), left.first_gap) == (70, 0.05)


def test_of_equals_the_first_is_kept_and_only_what_is_known_of_all_can_be_the_best():
    selection = Selection("robust")
    first = a_look("1100")
    assert selection.is_best(first)
    selection.take(first, 1)
    assert not selection.is_best(a_look("0011"))
    assert not selection.is_best(a_look("111", total=4))
    assert selection.is_best(a_look("0111", pgd10=0.1))
    usual = Selection("pgd10")
    usual.take(first, 1)
    assert not usual.is_best(a_look("1111", pgd10=0.5))
    assert usual.is_best(a_look("0000", pgd10=0.6))
    other = Selection("robust")
    other.load(selection.state())
    assert other.state().keys() == selection.state().keys()
    assert torch.equal(other.standing.robust, selection.standing.robust)


@pytest.mark.parametrize(("best", "after_pgd", "robust", "more"), [
    ("11100000", "11110000", "11", True),           # may end at four
    ("11100000", "11000000", "11", False),          # PGD-10 leaves two
    ("111100000000", "000011111111", "0000", False),  # behind by more than chance
    ("111100000000", "011011111111", "0110", True),
])  # fmt: skip
def test_more_examples_are_looked_at_as_long_as_the_epoch_may_be_the_best(best, after_pgd, robust, more):
    selection = Selection("robust")
    assert selection.goes_on(0.0, bools(after_pgd), standing(robust, len(after_pgd))), "nothing is known yet"
    selection.take(a_look(best), 1)
    assert selection.goes_on(0.0, bools(after_pgd), standing(robust, len(after_pgd))) == more


class Made:
    """Attacks whose outcome is given: the examples that the few passes leave, and those that more leave."""

    def __init__(self, few, more):
        self.left, self.budgets = {BUDGET: few, LONG: more}, []

    def of(self, rows, budget=BUDGET):
        self.budgets.append((budget, len(rows)))
        return rows[torch.isin(rows, torch.tensor(self.left[budget]))], rows[:0]


@pytest.mark.parametrize(("few", "goes_on", "more"), [
    (range(93), True, False),
    (range(80), True, True),
    (range(80), False, False),   # behind already
])  # fmt: skip
def test_more_passes_are_made_where_the_few_break_much_and_the_network_may_be_the_best(few, goes_on, more):
    after = torch.ones(100, dtype=torch.bool)
    made = Made(list(few), list(range(70)))
    left = stand(made, after, lambda found: goes_on)
    assert any(budget == LONG for budget, _ in made.budgets) == left.long == more
    assert int(left.robust.sum()) == (70 if more else len(few))
