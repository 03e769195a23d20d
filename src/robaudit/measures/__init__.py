"""Numbers about a model that are not accuracies."""

from robaudit.measures.convergence import Fosc, fosc, sgcs

__all__ = ["Fosc", "fosc", "sgcs"]
