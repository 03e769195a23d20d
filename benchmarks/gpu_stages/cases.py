"""The checkpoints that `right` compares on: those named, or three small ones that are always at hand."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gpu_stages.calls import Call
from robaudit.errors import RobauditError
from robaudit.inputs import Classifier, Images, file_sha256, load_classifier, load_images
from robaudit.plan import ThreatModel, parse_fraction
from robaudit.training import Inner, TrainSettings, train

_EPS = 0.1
_SHIPPED = ("digits_adversarial", "digits_distilled")
_MADE = "digits_made"


@dataclass(frozen=True)
class Case:
    """A checkpoint, its data and radius; `epochs` above 0, and `arch`, where it is to be made."""

    name: str
    dataset: str
    data_dir: Path
    path: Path
    eps: float
    epochs: int = 0
    arch: str = ""

    @property
    def made(self) -> bool:
        """Whether it is trained here."""
        return self.epochs > 0

    def load(self, images: Images | None = None) -> Classifier:
        """The model; one that is made here is what it is, however well it learned."""
        return load_classifier(str(self.path), images=images, force=self.made)

    def facts(self) -> list[object]:
        """What tells this case from another."""
        return [
            self.name,
            self.dataset,
            self.eps,
            f"{self.arch} {self.epochs}" if self.made else file_sha256(self.path),
        ]

    def make(self, seed: int) -> None:
        """Train it on the CPU, where it is not there yet."""
        if not self.made or self.path.exists():
            return
        images = load_images(self.dataset, split="train", seed=seed)
        settings = TrainSettings(
            self.dataset, Inner(self.eps, self.eps / 4, 5), epochs=self.epochs, batch_size=100, lr=0.05,
            method="pgd-at", arch=self.arch, validation=100, seed=seed, device="cpu", precision="fp32",
        )  # fmt: skip
        folder = self.path.with_suffix("")
        train(settings, images, folder)
        (folder / "last.safetensors").replace(self.path)


def cases_of(call: Call, epochs: int, arch: str) -> list[Case]:
    """Those of `--models`; by default two that the package ships, and one of `arch` that is trained here.

    Raises:
        RobauditError: one of them is not written as it should be, or not there.

    """
    if not call.models:
        folder = Path(str(resources.files("robaudit") / "assets"))
        shipped = [
            Case(name, "digits", call.data_dir, folder / f"{name}.safetensors", _EPS) for name in _SHIPPED
        ]
        made = call.scratch / f"{_MADE}.safetensors"
        return [
            *shipped,
            Case(
                name=_MADE,
                dataset="digits",
                data_dir=call.data_dir,
                path=made,
                eps=_EPS,
                epochs=epochs,
                arch=arch,
            ),
        ]
    named = [_split(text) for text in call.models]
    folder = call.data(**{dataset: ("test",) for dataset, _, _ in named})
    return [
        Case(f"{number}-{path.stem}", dataset, folder, path, eps)
        for number, (dataset, path, eps) in enumerate(named, 1)
    ]


def _split(text: str) -> tuple[str, Path, float]:
    try:
        dataset, rest = text.split(":", 1)
        file, eps = rest.rsplit(":", 1)
        radius = ThreatModel("Linf", parse_fraction(eps)).eps
    except ValueError as error:
        raise RobauditError(
            f"{text}: is not DATASET:FILE:EPS, as cifar10:model.pt:8/255 ({error})"
        ) from error
    if not Path(file).is_file():
        raise RobauditError(f"{file}: no such file; pass a checkpoint's path")
    return dataset, Path(file), radius
