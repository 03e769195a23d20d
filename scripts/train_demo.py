"""Train the two checkpoints of `robaudit demo` on scikit-learn's digits: one honest, one masked.

`digits_adversarial.safetensors` is trained by `robaudit.training` with TRADES (Zhang et al. 2019,
https://arxiv.org/abs/1901.08573), beta 3 and the healer watching, so what PGD-10 reports of it is real. It is the best
epoch of `robaudit train --dataset digits --heal --epochs 100 --out DIR`. `digits_distilled.safetensors` is defensively
distilled (Papernot et al. 2016, https://arxiv.org/abs/1511.04508) at temperature 100: at temperature 1 its softmax
saturates, the gradient of the cross-entropy is exactly zero in float32, and PGD-10 stays where it started (Carlini &
Wagner 2017, https://arxiv.org/abs/1608.04644, Section VIII). Attacks on the logits, or without gradients, break it.

Everything is drawn from the seed, on one CPU thread and with deterministic algorithms, so that the same versions
on the same kind of processor give the same weights. Takes about two minutes:

    python scripts/train_demo.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robaudit.attacks import ATTACKS, PGD_STEP, Examples, Retired, forward
from robaudit.engine import Engine
from robaudit.evidence import Outcome
from robaudit.inputs import (
    Classifier,
    Images,
    build_architecture,
    load_classifier,
    load_images,
    save_classifier,
)
from robaudit.plan import AuditPlan, ThreatModel, parse_fraction
from robaudit.training import Inner, TrainSettings, preset
from robaudit.training import train as robust_training

ASSETS = Path(__file__).resolve().parent.parent / "src" / "robaudit" / "assets"
#: 38,282 weights: two files of 154 kB, and an audit of both in seconds.
ARCHITECTURE = "sequential:conv16k3p1 relu conv32k3s2p1 relu flatten fc64 relu fcK"
#: Papernot et al. distil MNIST at 20 to 100; Carlini & Wagner break it at 100.
TEMPERATURE = 100.0
BATCH = 100
EVALUATED = ("pgd10", "square", "apgd-ce", "apgd-t", "fab-t")


def batches(count: int, epochs: int, generator: torch.Generator) -> Iterator[tuple[int, Tensor]]:
    """(epoch, rows) with rows (BATCH,) a part of that epoch's permutation of `count` examples."""
    for epoch in range(epochs):
        for rows in torch.randperm(count, generator=generator).split(BATCH):
            yield epoch, rows


def train(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    count: int,
    epochs: int,
    learning_rate: float,
    generator: torch.Generator,
) -> None:
    """Minimise `loss(rows)`, a scalar, by Adam with a one-cycle schedule, printing its mean ten times."""
    steps = epochs * -(-count // BATCH)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    seen: list[float] = []
    for step, (epoch, rows) in enumerate(batches(count, epochs, generator), 1):
        value = loss(rows)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        seen.append(value.item())
        if step % max(1, steps // 10) == 0:
            print(f"  epoch {epoch + 1:4d}/{epochs}  loss {sum(seen) / len(seen):.4f}", flush=True)
            seen = []


def new_network(seed: int) -> nn.Module:
    """A network for the digits whose first weights are drawn from `seed`."""
    torch.manual_seed(seed)
    return build_architecture(ARCHITECTURE, classes=10, in_channels=1, image_size=8)


def train_adversarial(images: Images, eps: float, epochs: int, seed: int) -> nn.Module:
    """The best epoch of `robaudit train`."""
    print(f"TRADES, eps {eps:g}, {epochs} epochs", flush=True)
    usual = preset("digits")
    settings = TrainSettings(
        "digits", Inner(eps, PGD_STEP * eps), epochs=epochs, batch_size=usual.batch_size, lr=usual.lr, heal="auto",
        arch=ARCHITECTURE, validation=len(images) // 5, seed=seed,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        robust_training(settings, images, Path(folder))
        return load_classifier(str(Path(folder) / "best.safetensors"), images=images).network


def train_distilled(x: Tensor, y: Tensor, epochs: int, seed: int) -> nn.Module:
    """A student of a teacher's soft labels, both at `TEMPERATURE` (https://arxiv.org/abs/1511.04508, Section IV).

    Teacher and student have the same architecture and see the same images. The student is returned as it is
    deployed, at temperature 1: its logits are not divided by anything.
    """
    print(f"Teacher at temperature {TEMPERATURE:g}, {epochs} epochs", flush=True)
    teacher, generator = new_network(seed + 1), torch.Generator().manual_seed(seed + 1)
    train(
        teacher,
        lambda rows: F.cross_entropy(teacher(x[rows]) / TEMPERATURE, y[rows]),
        len(y), epochs, 2e-3, generator,
    )  # fmt: skip
    soft = (forward(teacher, x) / TEMPERATURE).softmax(1)
    print(f"Student on its soft labels at temperature {TEMPERATURE:g}, {epochs} epochs", flush=True)
    student = new_network(seed + 2)
    train(
        student,
        lambda rows: F.cross_entropy(student(x[rows]) / TEMPERATURE, soft[rows]),
        len(y), epochs, 2e-3, generator,
    )  # fmt: skip
    return student


def zero_gradients(model: Classifier, x: Tensor, y: Tensor) -> float:
    """The share of examples at which the cross-entropy's gradient is exactly zero."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)
    return float((gradient.flatten(1) == 0).all(1).float().mean())


def evaluate(model: Classifier, images: Images, eps: float, seed: int) -> dict[str, float]:
    """Clean and robust accuracies, each attack alone, and the worst case of the last four as `autoattack`."""
    x, y = images.float(), images.labels
    logits = forward(model, x)
    correct = (logits.argmax(1) == y).nonzero().squeeze(1)
    examples = Examples(x[correct], y[correct], images.ids[correct], logits[correct])
    plan = AuditPlan(ThreatModel("Linf", eps), seed=seed)
    engine = Engine(model, model, plan.threat, slots=256, device=torch.device("cpu"))
    standing = torch.ones(len(correct), dtype=torch.bool)
    accuracy = {"clean": len(correct) / len(y)}
    for name in EVALUATED:
        robust = torch.ones(len(correct), dtype=torch.bool)

        def retire(group: Retired, robust: Tensor = robust) -> None:
            robust[group.rows] = group.outcome != int(Outcome.BROKEN)

        engine.run(ATTACKS[name](plan), examples, retire)
        accuracy[name] = int(robust.sum()) / len(y)
        if name != "pgd10":
            standing &= robust
    return accuracy | {
        "autoattack": int(standing.sum()) / len(y),
        "zero gradient": zero_gradients(model, x, y),
    }


def print_table(rows: dict[str, dict[str, float]]) -> None:
    """One line a checkpoint, one column a figure."""
    titles = list(next(iter(rows.values())))
    width = max(map(len, rows))
    print(f"{'':{width}}", *(f"{title:>13}" for title in titles))
    for name, row in rows.items():
        print(f"{name:{width}}", *(f"{row[title]:13.3f}" for title in titles))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=ASSETS, help="folder for the two files (default: the package's)"
    )
    parser.add_argument(
        "--eps", type=parse_fraction, default=0.1, help="Linf radius, of pixels in [0, 1] (default 0.1)"
    )
    parser.add_argument(
        "--epochs", type=int, default=100, help="epochs of adversarial training (default 100)"
    )
    parser.add_argument(
        "--distill-epochs", type=int, default=200, help="epochs of teacher and of student (default 200)"
    )
    parser.add_argument(
        "--only", choices=("adversarial", "distilled"), default="", help="train one of the two"
    )
    parser.add_argument("--seed", type=int, default=0, help="fixes every draw (default 0)")
    parser.add_argument(
        "--limit", type=int, default=200, help="test examples to evaluate on (default 200 of 797)"
    )
    return parser.parse_args()


def main() -> None:
    """Train, write, read back and evaluate both."""
    options = parse_arguments()
    began = time.monotonic()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    images = load_images("digits", split="train", seed=options.seed)
    x, y = images.float(), images.labels
    networks: dict[str, Callable[[], nn.Module]] = {
        "digits_adversarial": lambda: train_adversarial(images, options.eps, options.epochs, options.seed),
        "digits_distilled": lambda: train_distilled(x, y, options.distill_epochs, options.seed),
    }
    test = load_images("digits", limit=options.limit, seed=options.seed)
    rows = {}
    for name, make in networks.items():
        if options.only not in name:
            continue
        network = make()
        path = options.out / f"{name}.safetensors"
        save_classifier(network, path, architecture=ARCHITECTURE, classes=10, input_shape=(1, 8, 8))
        print(f"{path}: {path.stat().st_size:,} bytes after {time.monotonic() - began:.0f} s", flush=True)
        rows[name] = evaluate(load_classifier(str(path), images=test), test, options.eps, options.seed)
    print_table(rows)
    print(f"eps {options.eps:g}, {len(test)} test examples, {time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
