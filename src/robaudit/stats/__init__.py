"""Counts in, intervals out: what a number of examples says about the accuracy or the gap they stand for."""

from robaudit.stats.betting import PROPORTION_STAKES, SURVIVAL_STAKES
from robaudit.stats.decision import Decision, Side, decide
from robaudit.stats.fixed import paired_gap, proportion
from robaudit.stats.guessing import at_chance, near_chance
from robaudit.stats.interval import Interval
from robaudit.stats.sampled import LOWER_PART, draws_wanted, sampled_share
from robaudit.stats.sequences import bounded_gap_sequence, gap_path, gap_sequence, proportion_sequence

__all__ = [
    "LOWER_PART",
    "PROPORTION_STAKES",
    "SURVIVAL_STAKES",
    "Decision",
    "Interval",
    "Side",
    "at_chance",
    "bounded_gap_sequence",
    "decide",
    "draws_wanted",
    "gap_path",
    "gap_sequence",
    "near_chance",
    "paired_gap",
    "proportion",
    "proportion_sequence",
    "sampled_share",
]
