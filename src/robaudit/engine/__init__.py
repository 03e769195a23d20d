"""The scheduler: which example next, on which worker, and what of an attack counts as a break."""

from robaudit.engine.engine import Engine
from robaudit.engine.rechecking import clearly_misclassified, strictly_misclassified
from robaudit.engine.tuning import Tuning, fastest_threads, most_threads, on_threads, rate, tune

__all__ = [
    "Engine",
    "Tuning",
    "clearly_misclassified",
    "fastest_threads",
    "most_threads",
    "on_threads",
    "rate",
    "strictly_misclassified",
    "tune",
]
