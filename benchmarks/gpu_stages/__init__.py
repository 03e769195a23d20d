"""The stages of `benchmarks/gpu.py`, each of which fits a few minutes of an accelerator that is at hand rarely."""
