"""The benchmarks as modules, and a small data set in CIFAR-100's layout."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.helpers import CPU

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


def write_split(folder, split, count, seed):
    """Random images, `count` of them, of two of the hundred classes: dark ones and bright ones."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    coarse = draw.integers(0, 96, (count, 3, 4, 4)) + 150 * labels[:, None, None, None]
    images = np.kron(coarse, np.ones((1, 1, 8, 8))) + draw.normal(0, 3, (count, 3, 32, 32))
    batch = {
        b"data": images.clip(0, 255).astype(np.uint8).reshape(count, -1),
        b"fine_labels": labels.tolist(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / split).write_bytes(pickle.dumps(batch, protocol=4))


@pytest.fixture(scope="session")
def cifar100(tmp_path_factory) -> Path:
    """A folder with 300 images to train on and 200 to test on."""
    root = tmp_path_factory.mktemp("data")
    write_split(root / "cifar-100-python", "train", 300, 0)
    write_split(root / "cifar-100-python", "test", 200, 1)
    return root


@pytest.fixture(scope="session")
def collapsed(cifar100, tmp_path_factory):
    """What `collapse` left of one uninterrupted call."""
    import gpu

    out = tmp_path_factory.mktemp("stages") / "collapse"
    assert gpu.main([str(item) for item in ("collapse", "--data-dir", cifar100, "--out", out, *CPU)]) == 0
    return out


@pytest.fixture
def gpu():
    """The command, called in this process: `gpu(stage, *flags)` gives its exit code."""
    import gpu as command

    return lambda *arguments: command.main([str(item) for item in arguments])
