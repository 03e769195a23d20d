"""What the commands that need images share: which images, and the usual radius."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robaudit.cli.asked import check_image_size
from robaudit.cli.common import exists
from robaudit.datasets import DATASETS, no_such_data, usual_eps
from robaudit.errors import RobauditError
from robaudit.plan import ThreatModel, parse_fraction, parse_norm
from robaudit.spelling import meant_path, unknown

if TYPE_CHECKING:
    from robaudit.inputs import Images

#: What torch calls kinds of devices.
_DEVICES = (
    "auto", "cpu", "cuda", "mps", "xpu", "hip", "hpu", "mtia", "npu", "xla", "ipu", "maia", "meta", "privateuseone",
)  # fmt: skip
#: A radius of each norm, as an example.
_EXAMPLES = {"Linf": "8/255", "L2": "0.5", "L1": "12"}


@dataclass(frozen=True)
class DataRequest:
    """What the flags say of the images; `models` are those that they go into, which may say a size of pictures."""

    dataset: str
    data_dir: Path | None = None
    split: str = "test"
    seed: int = 0
    download: bool = False
    image_size: str | None = None
    models: tuple[str, ...] = ()

    def check(self) -> None:
        """Nothing, if there may be such data; asked before anything slow is imported.

        Raises:
            RobauditError: no such name or path, no such split, no such size, or no such folder of data sets.

        """
        check_image_size(self.image_size)
        if self.dataset not in DATASETS:
            if not exists(self.dataset):
                raise RobauditError(no_such_data(self.dataset))
            return
        if self.split not in DATASETS[self.dataset].splits:
            raise RobauditError(unknown("split", self.split, DATASETS[self.dataset].splits))
        if self.data_dir is not None and not self.data_dir.is_dir() and not self.download:
            raise RobauditError(
                f"{self.data_dir}: no such folder{meant_path(str(self.data_dir))}; "
                "pass --data-dir with the one that holds the data sets"
            )

    def load(self) -> Images:
        """All images of the split, in the random order that the seed fixes.

        Raises:
            RobauditError: there are none.

        """
        from robaudit.inputs import load_images, usual_size

        asked = self.image_size is not None or self.dataset in DATASETS or not self.models
        return load_images(
            self.dataset,
            data_dir=self.data_dir,
            split=self.split,
            seed=self.seed,
            download=self.download or _confirm_download,
            image_size=self.image_size,
            usual_size="" if asked else usual_size(self.models),
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
        try:
            return parse_fraction(eps)
        except ValueError as error:
            raise ValueError(f"--eps {error}") from error
    usual = usual_eps(dataset, norm)
    if dataset not in DATASETS and not exists(dataset):
        raise RobauditError(no_such_data(dataset))
    if usual is None:
        raise RobauditError(
            f"{dataset}: has no usual radius{f' in {norm}' if dataset in DATASETS else ''}; "
            f"pass --eps, for example --eps {_EXAMPLES[norm]}"
        )
    return usual


def check_device(name: str) -> None:
    """Nothing, if this may be a device; whether it is here, torch will tell.

    Raises:
        RobauditError: it is none of those that torch knows.

    """
    kind = name.partition(":")[0]
    if kind not in _DEVICES:
        raise RobauditError(f"{unknown('device', name, ('auto', 'cpu', 'cuda', 'cuda:1', 'mps', 'xpu'))} …")


def _confirm_download(name: str) -> bool:
    """Ask before fetching, where somebody is there to be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(f"{name} is not here yet. Download it?", err=True)
