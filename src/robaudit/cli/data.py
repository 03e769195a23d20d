"""What the commands that need images share: which images, and the usual radius."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robaudit.datasets import DATASETS, no_such_data, usual_eps
from robaudit.errors import RobauditError
from robaudit.plan import ThreatModel, parse_fraction, parse_norm

if TYPE_CHECKING:
    from robaudit.inputs import Images


@dataclass(frozen=True)
class DataRequest:
    """What the flags say of the images."""

    dataset: str
    data_dir: Path | None = None
    split: str = "test"
    seed: int = 0
    download: bool = False

    def load(self) -> Images:
        """All images of the split, in the random order that the seed fixes.

        Raises:
            RobauditError: there are none.

        """
        from robaudit.inputs import load_images

        return load_images(
            self.dataset,
            data_dir=self.data_dir,
            split=self.split,
            seed=self.seed,
            download=self.download or _confirm_download,
        )


def threat_model(norm: str, eps: str | None, dataset: str) -> ThreatModel:
    """The ball that the flags name; by default the data set's usual radius.

    Raises:
        RobauditError: no such norm or radius.

    """
    try:
        named = parse_norm(norm)
        return ThreatModel(named, _radius(eps, dataset, named))
    except ValueError as error:
        raise RobauditError(str(error)) from error


def _radius(eps: str | None, dataset: str, norm: str) -> float:
    if eps is not None:
        return parse_fraction(eps)
    usual = usual_eps(dataset, norm)
    if dataset not in DATASETS and not Path(dataset).expanduser().exists():
        raise RobauditError(no_such_data(dataset))
    if usual is None:
        raise RobauditError(f"{dataset}: has no usual radius; pass --eps, for example --eps 8/255")
    return usual


def _confirm_download(name: str) -> bool:
    """Ask before fetching, where somebody is there to be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(f"{name} is not here yet. Download it?", err=True)
