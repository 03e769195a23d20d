"""Says, with evidence that anyone can re-check, whether a classifier's robustness is overestimated."""

__version__ = "0.1.0"
