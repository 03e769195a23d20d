"""What may be done about a network that became masked; each is tried against the others before one is kept."""

from __future__ import annotations

from dataclasses import dataclass

from robaudit.training.settings import Method, TrainSettings

#: Algorithm 1's noise.
NOISE = 0.1


@dataclass(frozen=True)
class Treatment:
    """How batches are trained on, as changes to the run's settings.

    Attributes:
        name: as in the log.
        back: go back to the last weights that were not masked.
        noise: standard deviation of Gaussian noise added to the images (Algorithm 1).
        inner: what the inner maximisation ascends, by the name of a method; None for the run's own.
        beta, rate: what the weight of the robust term and the learning rate are multiplied by.
        far: begin the inner maximisation anywhere in the ball instead of next to the input.

    """

    name: str = ""
    back: bool = False
    noise: float = 0.0
    inner: Method | None = None
    beta: float = 1.0
    rate: float = 1.0
    far: bool = False

    @property
    def changes(self) -> bool:
        """Whether a batch is trained on otherwise than the run's settings say."""
        return bool(self.noise or self.inner is not None or self.beta != 1 or self.rate != 1 or self.far)


NONE = Treatment()
#: In the order in which ties are decided: what changes least comes first.
TREATMENTS = (
    NONE,
    Treatment("back", back=True),
    Treatment("noise", back=True, noise=NOISE),
    Treatment("cross-entropy inside", back=True, inner="trades-ce"),
    Treatment("larger beta", back=True, beta=3.0),
    Treatment("smaller rate", back=True, rate=0.3),
    Treatment("starts in the whole ball", back=True, far=True),
)
BY_NAME = {item.name: item for item in TREATMENTS}


def treatments_for(settings: TrainSettings) -> tuple[Treatment, ...]:
    """Those that make a difference to the run's method; first, to do nothing."""
    divergence, weighed = settings.method == "trades", settings.method != "pgd-at"
    return tuple(
        item
        for item in TREATMENTS
        if (divergence or not (item.far or item.inner)) and (weighed or item.beta == 1)
    )
