"""The fast form of a model that attacks search with, and the strict arithmetic that judges."""

from robaudit.fast.averaging import Averaged, generators
from robaudit.fast.endings import before_softmax
from robaudit.fast.execution import Execution, Replayed, execute, resolve_execution
from robaudit.fast.fusing import LiveForm, live_form
from robaudit.fast.precision import WORTH_HALF, SearchModel, search_model, strict_arithmetic

__all__ = [
    "WORTH_HALF",
    "Averaged",
    "Execution",
    "LiveForm",
    "Replayed",
    "SearchModel",
    "before_softmax",
    "execute",
    "generators",
    "live_form",
    "resolve_execution",
    "search_model",
    "strict_arithmetic",
]
