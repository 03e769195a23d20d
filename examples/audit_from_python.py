"""Audit a network of your own from Python: `python examples/audit_from_python.py`."""

from importlib import resources

from sklearn.datasets import load_digits

import robaudit

# Stands for your own network and data: any nn.Module that maps (N, C, H, W) in [0, 1] to logits.
with resources.as_file(resources.files("robaudit") / "assets" / "digits_distilled.safetensors") as path:
    network = robaudit.load(path)
digits = load_digits()
images, labels = digits.images[-100:, None] / 16, digits.target[-100:]

# Short budgets, for the example.
result = robaudit.check(
    network, images, labels, eps=0.1, apgd_steps=10, fab_steps=5, targets=2, square_queries=200
)

print(result)
print(f"{result.verdict.outcome}: {len(result.adversarial.y)} of {len(result.evidence)} examples broken")
