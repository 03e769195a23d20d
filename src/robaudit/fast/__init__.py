"""The fast form of a model that attacks search with, and the strict arithmetic that judges."""

from robaudit.fast.averaging import Averaged, generators
from robaudit.fast.fusing import LiveForm, live_form
from robaudit.fast.precision import WORTH_HALF, SearchModel, has_bf16, search_model, strict_arithmetic

__all__ = [
    "WORTH_HALF",
    "Averaged",
    "LiveForm",
    "SearchModel",
    "generators",
    "has_bf16",
    "live_form",
    "search_model",
    "strict_arithmetic",
]
