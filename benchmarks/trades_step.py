"""Throughput of a TRADES step: ours, a plain transcription of the published loop, and ART's trainer.

All three train the same network on the same images in turn, in one process, so that what else the machine does hits
them alike. The plain loop is that of https://github.com/yaodongyu/TRADES, written anew from its paper and description:
clean logits anew in every step of the attack, parameters live. The Adversarial Robustness Toolbox (ART) is left out
where it is not installed (pip install 'robaudit[bench]').

    python benchmarks/trades_step.py --arch resnet18 --batch 32 --rounds 3
    python benchmarks/trades_step.py --accuracy
    python benchmarks/trades_step.py --accuracy cifar10 --arch resnet20 --batch 64 --data-dir DIR
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robaudit.attacks import forward
from robaudit.devices import pick_device, synchronize
from robaudit.errors import RobauditError
from robaudit.inputs import Images, build_architecture, load_images
from robaudit.ranks import Ranks
from robaudit.training import Inner, TrainSettings
from robaudit.training.data import Batch, TrainData, hold_out
from robaudit.training.metrics import measure, plan_for
from robaudit.training.network import Shape, Trained, new_network
from robaudit.training.sgd import SGD
from robaudit.training.stepping import Stepper, StepSpec

EPS, STEP, STEPS, BETA, LR = 8 / 255, 2 / 255, 10, 6.0, 0.1
Step = Callable[[Tensor, Tensor], None]


def plain_step(
    model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor, inner: Inner, beta: float
) -> None:
    """One step as the published loop makes it."""
    model.eval()
    x_adv = x + 0.001 * torch.randn_like(x)
    for _ in range(inner.steps):
        x_adv = x_adv.detach().requires_grad_()
        divergence = F.kl_div(F.log_softmax(model(x_adv), 1), F.softmax(model(x), 1), reduction="sum")
        (gradient,) = torch.autograd.grad(divergence, x_adv)
        x_adv = x_adv.detach() + inner.step_size * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - inner.eps), x + inner.eps).clamp(0, 1)
    model.train()
    optimiser.zero_grad()
    logits = model(x)
    robust = F.kl_div(F.log_softmax(model(x_adv.detach()), 1), F.softmax(logits, 1), reduction="batchmean")
    (F.cross_entropy(logits, y) + beta * robust).backward()
    optimiser.step()


def plain(network: nn.Module, device: str) -> Step:
    """The published loop on a network of its own."""
    network = network.to(device)
    optimiser = torch.optim.SGD(network.parameters(), LR, 0.9, weight_decay=5e-4, nesterov=True)
    inner = Inner(EPS, STEP, STEPS)
    return lambda x, y: plain_step(network, optimiser, x, y, inner, BETA)


def ours(settings: TrainSettings, shape: Shape) -> Step:
    """A step of `robaudit train`, its drawing and its bookkeeping included."""
    network = new_network(settings, shape)
    stepper = Stepper(network, SGD(network, 0.9, 5e-4), settings, Ranks())
    count = iter(range(10**9))

    def step(x: Tensor, y: Tensor) -> None:
        ids = torch.arange(len(y), device=y.device)
        stepper.step(Batch(x, y, ids), StepSpec(next(count), len(y), LR, BETA, "trades"))

    return step


def toolbox(network: nn.Module, shape: Shape) -> Step | None:
    """ART's TRADES trainer with its own PGD at the same budget; None where ART is not installed."""
    try:
        from art.attacks.evasion import ProjectedGradientDescent  # noqa: PLC0415
        from art.defences.trainer import AdversarialTrainerTRADESPyTorch  # noqa: PLC0415
        from art.estimators.classification import PyTorchClassifier  # noqa: PLC0415
    except ImportError as error:
        print(f"ART left out: {error}")
        return None
    wrapped = PyTorchClassifier(
        network,
        nn.CrossEntropyLoss(),
        shape.image,
        shape.classes,
        torch.optim.SGD(network.parameters(), LR, 0.9, weight_decay=5e-4, nesterov=True),
        clip_values=(0.0, 1.0),
        device_type="gpu" if torch.cuda.is_available() else "cpu",
    )
    attack = ProjectedGradientDescent(
        wrapped, eps=EPS, eps_step=STEP, max_iter=STEPS, batch_size=4096, verbose=False
    )
    trainer = AdversarialTrainerTRADESPyTorch(wrapped, attack, BETA)

    def step(x: Tensor, y: Tensor) -> None:
        trainer.fit(x.cpu().numpy(), y.cpu().numpy(), batch_size=len(y), nb_epochs=1)

    return step


def compare(options: argparse.Namespace) -> None:
    """Median seconds a step, images a second, and how many times ours is as fast."""
    shape = Shape(options.classes, (3, options.side, options.side))
    settings = TrainSettings(
        "cifar100", Inner(EPS, STEP, STEPS), batch_size=options.batch, arch=options.arch,
        precision=options.precision, device=options.device,
    )  # fmt: skip

    def fresh() -> nn.Module:
        return build_architecture(
            options.arch, classes=options.classes, in_channels=3, image_size=options.side
        )

    generator = torch.Generator().manual_seed(0)
    x = torch.rand(options.batch, *shape.image, generator=generator).to(options.device)
    y = torch.randint(options.classes, (options.batch,), generator=generator).to(options.device)
    steps = {
        "robaudit": ours(settings, shape),
        "published loop": plain(fresh(), options.device),
        "ART": toolbox(fresh(), shape),
    }
    times: dict[str, list[float]] = {name: [] for name, step in steps.items() if step}
    for turn in range(options.rounds + 1):
        for name, taken in times.items():
            step = steps[name]
            assert step
            began = time.perf_counter()
            with contextlib.redirect_stderr(io.StringIO()):  # ART draws a bar
                step(x, y)
            synchronize(torch.device(options.device))
            if turn:  # the first is for warming up
                taken.append(time.perf_counter() - began)
    print(f"{options.arch}, {options.batch} images of {shape.image}, {options.classes} classes, {options.device}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")  # fmt: skip
    first = statistics.median(times["robaudit"])
    for name, values in times.items():
        middle = statistics.median(values)
        print(
            f"{name:15} {middle:8.3f} s a step  {options.batch / middle:8.1f} images/s  x {middle / first:.2f}"
        )


def accuracy(options: argparse.Namespace) -> None:
    """Validation accuracies of our trainer and of the plain float32 loop after the same short run."""
    if options.accuracy == "digits":
        base = TrainSettings(
            "digits", Inner(0.1, 0.025), epochs=20, batch_size=100, lr=0.05, beta=3.0, validation=200,
            arch="sequential:conv16k3p1 relu conv32k3s2p1 relu flatten fc64 relu fcK",
        )  # fmt: skip
    else:
        base = TrainSettings(
            options.accuracy, Inner(EPS, STEP, STEPS), epochs=options.epochs, batch_size=options.batch, lr=0.05,
            beta=3.0, limit=options.limit, validation=500, arch=options.arch, augment="crop-flip",
            precision=options.precision,
        )  # fmt: skip
    limit = base.limit and base.limit + base.validation
    images = load_images(options.accuracy, data_dir=options.data_dir, split="train", limit=limit, seed=0)
    for seed in range(options.seeds):
        for name in ("robaudit", "published loop"):
            clean, pgd = short_run(replace(base, seed=seed), images, plainly=name != "robaudit")
            print(f"seed {seed}  {name:15} clean {100 * clean:.1f} %  PGD-10 {100 * pgd:.1f} %", flush=True)


def short_run(settings: TrainSettings, images: Images, plainly: bool) -> tuple[float, float]:
    """Clean and PGD-10 accuracy on the held-out examples after all epochs, from the same first weights."""
    train, held = hold_out(images, settings.validation, settings.seed)
    data = TrainData(train, torch.device("cpu"), settings.augment, settings.seed)
    network: Trained = new_network(settings, Shape(images.classes, images.shape))
    theirs = torch.optim.SGD(network.parameters(), settings.lr, 0.9, weight_decay=5e-4, nesterov=True)
    stepper = Stepper(network, SGD(network, 0.9, 5e-4), settings, Ranks())
    count = 0
    for epoch in range(settings.epochs):
        for rows in data.order(epoch).split(settings.batch_size):
            batch = data.batch(rows, epoch)
            if plainly:
                plain_step(network, theirs, batch.x, batch.y, settings.inner, settings.beta)
            else:
                stepper.step(batch, StepSpec(count, len(rows), settings.lr, settings.beta, "trades"))
            count += 1
    network.eval()
    x, y = held.float(), held.labels
    clean = float((forward(network, x).argmax(1) == y).float().mean())
    return clean, measure(network, x, y, held.ids, plan_for(settings.inner.eps, 0))[0].pgd10


def main() -> None:
    """Throughput, or accuracy after a short run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default=pick_device("auto"))
    parser.add_argument(
        "--accuracy",
        nargs="?",
        const="digits",
        metavar="DATASET",
        help="accuracies after a short run instead",
    )
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--epochs", type=int, default=5, help="of that run, but on digits")
    parser.add_argument(
        "--limit", type=int, default=2000, help="training examples of that run, but on digits"
    )
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    try:
        if options.accuracy:
            accuracy(options)
        else:
            compare(options)
    except RobauditError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
