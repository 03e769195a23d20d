"""What a training run is: its method, sizes, schedule and healer, as frozen plain data that is refused when bad.

The defaults are the paper's (Li et al., Section 3.1 and Appendix B): TRADES with beta 3, batch size 256, learning rate
0.1, 10 steps of TPGD, SGD with Nesterov's momentum 0.9 and weight decay 5e-4.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from robaudit.spelling import unknown

Method = Literal["trades", "trades-ce", "pgd-at", "mart"]
ScheduleName = Literal["constant", "multistep", "cosine", "onecycle"]
Augment = Literal["none", "crop", "flip", "crop-flip"]
Heal = Literal["off", "auto", "paper"]
Select = Literal["robust", "pgd10"]
TrainPrecision = Literal["auto", "fp32", "bf16"]
TrainExecution = Literal["auto", "eager", "graphs", "compile"]

#: Settings that may differ when a run is resumed: they change no weight by more than rounding.
FREE = ("save_every", "device", "execution", "threads", "confirm")
#: The largest rate, weight or length that is no slip, and threads of the CPU likewise.
LARGEST, MOST_THREADS = 1e6, 1024
#: The radius in the paper's Appendix H.
AWP_RADIUS = 0.005


@dataclass(frozen=True)
class Inner:
    """The inner maximisation: `steps` of `step_size` inside the Linf ball of radius `eps`, all in pixel units."""

    eps: float = 8 / 255
    step_size: float = 2 / 255
    steps: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.eps <= 1:
            hint = f"; did you mean {self.eps:g}/255?" if 1 < self.eps <= 255 else ""
            raise ValueError(f"eps {self.eps:g} must be in (0, 1], inputs being in [0, 1]{hint}")
        if not 0 < self.step_size <= 1:
            raise ValueError(f"step-size {self.step_size:g} must be in (0, 1], for example 2/255")
        if self.steps < 1:
            raise ValueError(f"steps {self.steps} must be at least 1")


@dataclass(frozen=True)
class TrainSettings:
    """One run, fully determined: the same settings on the same machine give the same weights.

    Attributes:
        dataset: a name, folder or file, as `load_images` takes it.
        epochs: over the training examples that are not held out.
        batch_size: of all processes together; a last batch that is not full is left out, as in the paper.
        lr: the schedule's highest learning rate.
        beta: weight of the robust term (1 / lambda in Equation 1).
        method: `trades` (Equation 1), `trades-ce` (Appendix F: PGD on the cross-entropy inside), `pgd-at`
            (https://arxiv.org/abs/1706.06083), `mart` (https://openreview.net/forum?id=rklOg6EFwS).
        arch: text that `build_architecture` takes.
        normalise: text that `--normalise` takes.
        schedule: of the learning rate.
        augment: random crops with 4 pixels of padding, horizontal flips.
        awp: radius of the adversarial weight perturbation; 0 for none.
        heal: `off`, `auto`, or `paper` (Algorithm 1).
        threshold: of Algorithm 1, on the mean FOSC of the validation examples.
        select: the best epoch is that of the highest `robust`, a worst case of few passes, or `pgd10`, as in the paper.
        clip: the gradient of all weights together is shortened to this length; 0 for never.
        limit: at most this many training examples, class-balanced.
        validation: examples held out of the training split.
        confirm: held-out examples that the kept network meets AutoAttack on at the end; None for as many as cost a
            twentieth of the run and at least 200, 0 for none.
        seed: fixes first weights, order, crops, starts and noise.
        precision: `auto` is bf16 on an accelerator that has it; on the CPU fp32, with the inner attack in bf16 where
            the CPU has instructions for that and the network's convolutions are large enough to gain.
        execution: how the inner attack's passes are started: `auto` is graphs (recorded once, then replayed) where the
            device has them, else `eager`, one operation after the other; `compile` is torch.compile, which takes
            a minute or two before the first step.
        batch_metrics: every how many steps Appendix G's metrics are taken; 0 for never.
        start_from: the digest of the model whose weights the run starts from (`ModelInfo.digest`), or empty.
        save_every: seconds between two savings within an epoch.
        threads: of the CPU; 0 for as many as a short measurement finds fastest. More than one may round otherwise.

    """

    dataset: str
    inner: Inner = field(default_factory=Inner)
    epochs: int = 200
    batch_size: int = 256
    lr: float = 0.1
    beta: float = 3.0
    method: Method = "trades"
    arch: str = "resnet18"
    normalise: str = "none"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip: float = 0.0
    schedule: ScheduleName = "constant"
    augment: Augment = "none"
    awp: float = 0.0
    heal: Heal = "off"
    threshold: float = 0.1
    select: Select = "robust"
    limit: int | None = None
    validation: int = 1000
    confirm: int | None = None
    seed: int = 0
    precision: TrainPrecision = "auto"
    execution: TrainExecution = "auto"
    batch_metrics: int = 0
    start_from: str = ""
    device: str = "cpu"
    save_every: float = 300.0
    threads: int = 0

    def __post_init__(self) -> None:
        choices: tuple[tuple[str, Any], ...] = (
            ("method", Method),
            ("schedule", ScheduleName),
            ("augment", Augment),
            ("heal", Heal),
            ("select", Select),
            ("precision", TrainPrecision),
            ("execution", TrainExecution),
        )
        for name, kind in choices:
            if getattr(self, name) not in get_args(kind):
                raise ValueError(unknown(name, getattr(self, name), get_args(kind)))
        for name, least in (
            ("epochs", 1),
            ("batch_size", 2),
            ("validation", 1),
            ("batch_metrics", 0),
            ("threads", 0),
            ("confirm", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(
                    f"{name.replace('_', '-')} {value} must be a whole number of at least {least}"
                )
        if self.limit is not None and self.limit < self.batch_size:
            smaller = f", or pass --batch-size {self.limit}" if self.limit >= 2 else ""  # the smallest batch
            raise ValueError(
                f"limit {self.limit} is less than one batch of {self.batch_size}; raise it{smaller}"
            )
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name in ("lr", "threshold"):
            if not 0 < getattr(self, name) <= LARGEST:
                raise ValueError(
                    f"{name} {getattr(self, name):g} must be a number above 0, at most {LARGEST:g}"
                )
        if not (math.isfinite(self.save_every) and self.save_every >= 0):
            raise ValueError(f"save-every {self.save_every:g} must be 0 or more")
        for name in ("beta", "awp", "weight_decay", "clip"):
            if not 0 <= getattr(self, name) <= LARGEST:
                words = f"{name.replace('_', '-')} {getattr(self, name):g}"
                raise ValueError(f"{words} must be 0 or more, at most {LARGEST:g}")
        if self.threads > MOST_THREADS:
            raise ValueError(
                f"threads {self.threads} must be at most {MOST_THREADS}; 0 finds how many are fastest"
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum {self.momentum:g} must be in [0, 1), for example 0.9")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed {self.seed} must be in [0, 2^63)")

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data, for the checkpoints."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The settings that `to_dict` wrote.

        Raises:
            ValueError: a field is missing, unknown or has a bad value.

        """
        try:
            return cls(**data | {"inner": Inner(**data["inner"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"settings do not fit this version of robaudit: {error}") from error

    def differences(self, other: TrainSettings) -> list[str]:
        """The names of the settings, but the free ones, in which the two differ, `inner.eps` and so on."""
        mine, theirs = _flat(self.to_dict()), _flat(other.to_dict())
        return sorted(key for key in mine if key not in FREE and mine[key] != theirs.get(key))


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    inner = {f"inner.{key}": value for key, value in data["inner"].items()}
    return {key: value for key, value in data.items() if key != "inner"} | inner
