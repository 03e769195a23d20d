"""Audit on a data set of your own, as an .npz file: `python examples/custom_dataset.py`."""

import tempfile
from importlib import resources
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from robaudit.cli import run

# Stands for your own images: uint8 (N, H, W) or (N, H, W, C), or float (N, C, H, W) in [0, 1], and integer labels.
digits = load_digits()
images = np.rint(digits.images / 16 * 255).astype(np.uint8)[-200:]
labels = digits.target[-200:]

with tempfile.TemporaryDirectory() as folder:
    data = Path(folder) / "mine.npz"
    np.savez(data, images=images, labels=labels)
    with resources.as_file(
        resources.files("robaudit") / "assets" / "digits_adversarial.safetensors"
    ) as model:
        # The same as `robaudit check MODEL --dataset mine.npz --eps 0.1 ...`; a file has no usual radius.
        short = ["--apgd-steps=10", "--fab-steps=5", "--targets=2", "--square-queries=200"]  # for the example
        place = ["--evidence", str(Path(folder) / "mine.evidence")]
        code = run(["check", str(model), "--dataset", str(data), "--eps=0.1", "--limit=60", *short, *place])
print(f"exit code {code}: 0 nothing found, 1 overestimated, 2 could not audit, 3 inconclusive")
