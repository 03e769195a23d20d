"""The scheduler: which example next, on which worker, and what of an attack counts as a break."""

from robaudit.engine.engine import Engine
from robaudit.engine.slots import truly_misclassified
from robaudit.engine.tuning import Tuning, on_threads, tune

__all__ = ["Engine", "Tuning", "on_threads", "truly_misclassified", "tune"]
