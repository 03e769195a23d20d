"""Numbers about a model that are not accuracies."""

from robaudit.measures.convergence import Fosc, fosc, sgcs
from robaudit.measures.landscape import Landscape, Numbers, landscape, numbers

__all__ = ["Fosc", "Landscape", "Numbers", "fosc", "landscape", "numbers", "sgcs"]
