"""Build a zoo of models, honest and masked, from real data, with robaudit's own trainer.

    python examples/zoo/build.py OUT --data-dir DIR [--only NAME,NAME]

DIR holds CIFAR-10 in torchvision's layout and `mnist-test.npz`; the digits are in the package. What is built already
is left alone, an unfinished run is resumed. OUT then has `zoo.py`, whose factories `robaudit check` takes, and the
data sets `mnist-half-*.npz` and `cifar-small-*.npz`.
"""

from __future__ import annotations

import argparse
import shutil
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.inputs import Images, load_images
from robaudit.training import Inner, TrainSettings, preset, train

HERE = Path(__file__).parent
#: Of the MNIST test set's 10,000; CIFAR-10's training examples used. The rest of MNIST, and CIFAR-10's test set, test.
MNIST_TRAIN, CIFAR_TRAIN = 5000, 8000
#: Radius at which a data set's models are trained and audited where zoo.toml names none.
EPS = {"digits": 0.1, "mnist-half": 0.1, "cifar-small": 8 / 255}


def main() -> None:
    """Build what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--only", default="", help="comma separated names; all by default")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    for name in ("zoo.py", "zoo.toml"):
        shutil.copy(HERE / name, out / name)
    wanted = set(filter(None, options.only.split(",")))
    for entry in tomllib.loads((HERE / "zoo.toml").read_text(encoding="utf-8"))["model"]:
        if "base" in entry or (wanted and entry["name"] not in wanted):
            continue
        started = time.process_time()
        if "train" in entry:
            run(entry, data(entry["data"], "train", out, options.data_dir), out)
        elif not (out / f"{entry['name']}.pt").exists():
            fit(entry, data(entry["data"], "train", out, options.data_dir), out)
        print(f"{entry['name']}: {time.process_time() - started:.0f} CPU seconds", flush=True)


def data(name: str, split: str, out: Path, data_dir: Path | None) -> Images:
    """One of the zoo's data sets, made from the real ones where it is not there yet."""
    if name == "digits":
        return load_images("digits", split=split)
    path = out / f"{name}-{split}.npz"
    if not path.exists():
        (mnist if name == "mnist-half" else cifar)(out, data_dir)
    return load_images(str(path))


def mnist(out: Path, data_dir: Path | None) -> None:
    """Half of the MNIST test set to train on, half to test with."""
    images = load_images("mnist", data_dir=data_dir, seed=0)
    for split, rows in (("train", slice(MNIST_TRAIN)), ("test", slice(MNIST_TRAIN, None))):
        pixels = images.pixels[rows, 0].numpy()
        np.savez(out / f"mnist-half-{split}.npz", images=pixels, labels=images.labels[rows].numpy())


def cifar(out: Path, data_dir: Path | None) -> None:
    """CIFAR-10 at 16 x 16, the mean of 2 x 2 pixels."""
    for split, limit in (("train", CIFAR_TRAIN), ("test", None)):
        images = load_images("cifar10", data_dir=data_dir, split=split, limit=limit, seed=0)
        small = F.avg_pool2d(images.float(), 2).mul(255).round().to(torch.uint8)
        pixels = small.permute(0, 2, 3, 1).numpy()
        np.savez(out / f"cifar-small-{split}.npz", images=pixels, labels=images.labels.numpy())


def run(entry: dict[str, Any], images: Images, out: Path) -> None:
    """A run of robaudit's trainer."""
    usual, given = preset(entry["data"] if entry["data"] == "digits" else "mnist"), dict(entry["train"])
    eps = entry.get("eps", EPS[entry["data"]])
    settings: dict[str, Any] = {
        "arch": usual.arch, "lr": usual.lr, "batch_size": 100, "validation": 200, "schedule": "cosine",
    }  # fmt: skip
    inner = Inner(eps, eps / 4, given.pop("steps", 10))
    train(TrainSettings(dataset=entry["data"], inner=inner, **settings | given), images, out / entry["name"])


def fit(entry: dict[str, Any], images: Images, out: Path) -> None:
    """A short loop for distillation, squeezed logits, smoothed labels, and activations of another kind."""
    import sys  # noqa: PLC0415  the copy that lies beside the weights it loads

    sys.path.insert(0, str(out))
    import zoo  # noqa: PLC0415

    how = entry["fit"]
    teacher = zoo.load(how["teacher"]) if "teacher" in how else None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = zoo.small_network(how.get("activation", "relu"))
        optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        x, y = images.float(), images.labels
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how["epochs"])
        for _ in range(how["epochs"]):
            for rows in torch.randperm(len(y)).split(100):
                optimiser.zero_grad()
                noisy = x[rows] + how.get("noise", 0.0) * torch.randn_like(x[rows])
                loss_of(
                    how, network(noisy), y[rows], None if teacher is None else teacher(x[rows])
                ).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
            rate.step()
    torch.save(network.state_dict(), out / f"{entry['name']}.pt")


def loss_of(how: dict[str, Any], logits: Tensor, y: Tensor, teacher: Tensor | None) -> Tensor:
    """What `fit` minimises.

    `distil`: defensive distillation (https://arxiv.org/abs/1511.04508) with a temperature that the deployed network
    does not have, so that its logits are as many times larger. `squeeze`: the cross-entropy plus the squared logits;
    `smooth`: smoothed labels; both with noise (https://arxiv.org/abs/1910.11585).
    """
    kind = how["loss"]
    if kind == "distil":
        assert teacher is not None
        t = how["temperature"]
        return t * F.cross_entropy(logits / t, teacher.softmax(1).detach())
    if kind == "squeeze":
        return F.cross_entropy(logits, y) + how["weight"] * logits.square().sum(1).mean()
    return F.cross_entropy(logits, y, label_smoothing=how["weight"] if kind == "smooth" else 0.0)


if __name__ == "__main__":
    main()
