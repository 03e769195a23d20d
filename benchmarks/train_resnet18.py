"""Train the two CIFAR-10 ResNet-18s that `vs_reference.py` is measured on: one undefended, one adversarially.

    python benchmarks/train_resnet18.py --data-dir DIR --out DIR
    python benchmarks/train_resnet18.py --data-dir DIR --out DIR --kinds standard --examples 50000 --epochs 2

The adversarial one is trained by single steps from random starts (Wong et al. 2020,
https://arxiv.org/abs/2001.03994) at 8/255. By default both see few images: they stand for the work that a ResNet-18
makes, not for the accuracy that one can reach.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robaudit.inputs import Images, build_architecture, load_images, save_classifier

EPS, STEP = 8 / 255, 10 / 255
BATCH = 128
KINDS = ("standard", "fast")


def main() -> None:
    """Train what is asked for and write `resnet18_standard.safetensors` and `resnet18_fast.safetensors`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/resnet18"))
    parser.add_argument("--examples", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    images = load_images("cifar10", split="train", data_dir=options.data_dir, limit=options.examples, seed=0)
    for kind in options.kinds:
        torch.manual_seed(0)
        network = build_architecture("resnet18", classes=10).to(memory_format=torch.channels_last)
        train(network, images, options.epochs, robust=kind == "fast")
        save_classifier(
            network,
            options.out / f"resnet18_{kind}.safetensors",
            architecture="resnet18",
            classes=10,
            input_shape=(3, 32, 32),
        )


def train(network: nn.Module, images: Images, epochs: int, *, robust: bool) -> None:
    """SGD with a one-cycle schedule, and horizontal flips."""
    steps = epochs * -(-len(images) // BATCH)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=steps)
    started = time.monotonic()
    for epoch in range(epochs):
        losses = []
        for rows in torch.randperm(len(images)).split(BATCH):
            x, y = images.float(rows), images.labels[rows]
            x = torch.where((torch.rand(len(x)) < 0.5)[:, None, None, None], x.flip(3), x)
            if robust:
                x = perturb(network, x, y)
            loss = F.cross_entropy(network(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        print(
            f"epoch {epoch + 1}/{epochs}  loss {sum(losses) / len(losses):.3f}  "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )


def perturb(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """One signed step of 10/255 from a uniform start in the ball."""
    delta = ((torch.rand_like(x) * 2 - 1) * EPS).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network((x + delta).clamp(0, 1)), y), delta)
    delta = (delta.detach() + STEP * gradient.sign()).clamp(-EPS, EPS)
    return (x + delta).clamp(0, 1)


if __name__ == "__main__":
    main()
