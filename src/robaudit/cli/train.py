"""`robaudit train`: TRADES and its kin, with a monitor of gradient masking and a healer."""

from __future__ import annotations

from inspect import cleandoc
from pathlib import Path

import typer

from robaudit.cli.asked import check_present, check_structure
from robaudit.cli.data import DataRequest, check_device
from robaudit.cli.streams import complain
from robaudit.cli.trackers import LOG_OPTION, check_tracker
from robaudit.cli.train_settings import check_settings
from robaudit.errors import RobauditError
from robaudit.plan import parse_fraction
from robaudit.training import TrainSettings

_DATA, _METHOD, _RUN, _HEAL = "Data", "Method", "Run", "Healing"
_HEALERS = ("auto", "paper", "off")

_EXAMPLES = """
Examples:

  robaudit train --dataset cifar100 --out runs/a --heal

  robaudit train --dataset cifar100 --out runs/b --beta 1 --batch-size 128 --heal=paper

  robaudit train --dataset digits --out runs/digits --epochs 20

  robaudit train --dataset cifar10 --out runs/c --heal --from masked.safetensors
"""


def with_heal_value(arguments: list[str]) -> list[str]:
    """`--heal` alone means `--heal=auto`; a value may follow it behind a space too."""
    done = []
    for place, item in enumerate(arguments):
        following = arguments[place + 1] if place + 1 < len(arguments) else ""
        done.append("--heal=auto" if item == "--heal" and following not in _HEALERS else item)
    return done


def train(
    dataset: str = typer.Option(
        ..., help="Name, folder, .npz or .safetensors, as for check.", rich_help_panel=_DATA
    ),
    out: Path = typer.Option(
        ..., help="The run's folder; an unfinished run there is resumed.", rich_help_panel=_RUN
    ),
    data_dir: Path | None = typer.Option(None, help="Where named data sets lie.", rich_help_panel=_DATA),
    download: bool = typer.Option(
        False, help="Fetch an absent data set without asking.", rich_help_panel=_DATA
    ),
    limit: int | None = typer.Option(
        None, help="At most this many training examples, class-balanced.", rich_help_panel=_DATA
    ),
    validation: int | None = typer.Option(
        None, help="Examples held out; 1,000, or a fifth of a small set.", rich_help_panel=_DATA
    ),
    confirm: int | None = typer.Option(
        None,
        help="Held-out examples that the kept network meets AutoAttack on at the end; 0 for none.",
        rich_help_panel=_DATA,
    ),
    augment: str | None = typer.Option(None, help="none, crop, flip or crop-flip.", rich_help_panel=_DATA),
    method: str = typer.Option("trades", help="trades, trades-ce, pgd-at or mart.", rich_help_panel=_METHOD),
    beta: float = typer.Option(3.0, help="Weight of the robust term, 1 / lambda.", rich_help_panel=_METHOD),
    eps: str | None = typer.Option(None, help="Linf radius, for example 8/255.", rich_help_panel=_METHOD),
    step_size: str | None = typer.Option(
        None, help="Of the inner attack; a quarter of eps.", rich_help_panel=_METHOD
    ),
    steps: int = typer.Option(10, help="Of the inner attack.", rich_help_panel=_METHOD),
    awp: float = typer.Option(
        0.0, help="Radius of adversarial weight perturbation, for example 0.005.", rich_help_panel=_METHOD
    ),
    arch: str | None = typer.Option(
        None, help="Any architecture that check knows by name.", rich_help_panel=_METHOD
    ),
    normalise: str | None = typer.Option(
        None, help="As for check; none by default.", rich_help_panel=_METHOD
    ),
    epochs: int | None = typer.Option(None, help="By default the data set's usual.", rich_help_panel=_RUN),
    batch_size: int | None = typer.Option(None, help="Over all processes together.", rich_help_panel=_RUN),
    lr: float | None = typer.Option(None, help="The schedule's highest.", rich_help_panel=_RUN),
    schedule: str = typer.Option(
        "constant", help="constant, multistep, cosine or onecycle.", rich_help_panel=_RUN
    ),
    momentum: float = typer.Option(0.9, help="Nesterov's.", rich_help_panel=_RUN),
    weight_decay: float = typer.Option(5e-4, help="L2.", rich_help_panel=_RUN),
    clip: float | None = typer.Option(
        None, help="Longest gradient of a step; 0 for any, 1 with --from.", rich_help_panel=_RUN
    ),
    select: str = typer.Option(
        "robust",
        help="The best epoch: robust (a worst case of few passes), or pgd10 as in the paper.",
        rich_help_panel=_RUN,
    ),
    seed: int = typer.Option(0, help="Fixes every draw.", rich_help_panel=_RUN),
    heal: str = typer.Option(
        "off",
        help="Try what ends masking, keep what proves to help: --heal, or --heal=paper.",
        rich_help_panel=_HEAL,
    ),
    threshold: float | None = typer.Option(
        None, help="FOSC threshold of --heal=paper.", rich_help_panel=_HEAL
    ),
    start: str | None = typer.Option(
        None, "--from", help="Checkpoint to start from; audited before and after.", rich_help_panel=_HEAL
    ),
    precision: str = typer.Option(
        "auto", help="auto, fp32 or bf16; auto is bf16 on a GPU.", rich_help_panel=_RUN
    ),
    execution: str = typer.Option(
        "auto",
        help="Of the inner attack: auto, eager, graphs or compile (torch.compile).",
        rich_help_panel=_RUN,
    ),
    threads: int = typer.Option(
        0, help="Of the CPU; 0 for as many as a short measurement finds fastest.", rich_help_panel=_RUN
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, xpu, mps …", rich_help_panel=_RUN),
    batch_metrics: int = typer.Option(
        0,
        help="Gradient norms and cosine (Appendix G) every this many steps; 0 for none.",
        rich_help_panel=_RUN,
    ),
    save_every: float = typer.Option(
        300.0, help="Seconds between savings within an epoch.", rich_help_panel=_RUN
    ),
    log: str | None = LOG_OPTION,
    tensorboard: bool = typer.Option(
        False, "--tensorboard", help="The same as --log tensorboard.", rich_help_panel="Output"
    ),
    quiet: bool = typer.Option(False, "--quiet", help="Say nothing.", rich_help_panel=_RUN),
) -> int:
    """Train a robust classifier that does not end up masked, and log what shows it."""
    if tensorboard and log not in (None, "tensorboard"):
        raise RobauditError(f"--tensorboard: is --log tensorboard, not with --log {log}; choose one")
    log = "tensorboard" if tensorboard else log
    check_tracker(log)
    DataRequest(dataset, data_dir, "train", seed, download).check()
    check_structure(arch, normalise, dataset)
    check_device(device)
    given = {
        "limit": limit, "validation": validation, "confirm": confirm, "augment": augment,
        "method": method, "beta": beta, "steps": steps, "awp": awp, "arch": arch, "normalise": normalise,
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "schedule": schedule, "momentum": momentum,
        "weight_decay": weight_decay, "clip": clip, "seed": seed, "heal": heal, "threshold": threshold,
        "precision": precision, "execution": execution, "threads": threads, "select": select,
        "batch_metrics": batch_metrics, "save_every": save_every,
        "eps": parse_eps(eps, "eps"), "step_size": parse_eps(step_size, "step-size"),
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    check_settings(dataset, given)
    if heal != "paper" and threshold not in (None, TrainSettings.threshold) and not quiet:
        complain("--threshold is Algorithm 1's, and changes nothing without --heal=paper")
    if start:
        check_present(start)
    from robaudit.cli.training import TrainRequest, carry_out
    from robaudit.devices import pick_device

    request = TrainRequest(
        dataset=dataset, out=out, data_dir=data_dir, download=download, start=start, quiet=quiet, log=log
    )
    return carry_out(request, given | {"device": pick_device(device)})


def parse_eps(text: str | None, name: str) -> float | None:
    """A radius or step as people write it.

    Raises:
        RobauditError: it is not a number.

    """
    if text is None:
        return None
    try:
        return parse_fraction(text)
    except ValueError as error:
        raise RobauditError(f"--{name} {error}") from error


train.__doc__ = f"{cleandoc(train.__doc__ or '')}\n{_EXAMPLES}"
