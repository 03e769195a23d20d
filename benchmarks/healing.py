"""A laboratory for the healers: unstable and stable settings, each healer, several seeds, every attack on what is kept.

    python benchmarks/healing.py --out runs                                  # the settings of docs/training.md
    python benchmarks/healing.py --out runs --settings digits-large --seeds 11 12 13 21 22 --images 400
    python benchmarks/healing.py --out runs --from CKPT --dataset cifar10 --epochs 8 --arms auto --data-dir DIR

A run, and attacks on weights, that are in the folder already are not repeated. `usual` is the way of papers: no healer,
and the epoch of the highest PGD-10 accuracy; `before` is what a run begins with. An arm with the name of one of the
healer's treatments ("larger beta") is under it from the first batch to the last. The table has means over the seeds
with 95 % intervals of the mean (Student's t), in percent.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch.nn.functional as F
from safetensors import safe_open
from scipy.stats import t
from torch import Tensor

from robaudit.attacks import ATTACKS, Examples, Retired, forward
from robaudit.cli.train_settings import settings_for
from robaudit.cli.training import settings_from
from robaudit.engine import Engine
from robaudit.errors import RobauditError
from robaudit.evidence import Outcome
from robaudit.fast import search_model
from robaudit.files import write_text
from robaudit.inputs import Classifier, Images, load_classifier, load_images
from robaudit.plan import AuditPlan, ThreatModel, parse_fraction
from robaudit.reports.run_curves import read_log
from robaudit.training import TrainSettings, train
from robaudit.training.checkpoints import BEST, LAST
from robaudit.training.healer import NoHealer
from robaudit.training.treatments import TREATMENTS, Treatment

#: How a run is made, by name: fields of its settings.
ARMS: dict[str, dict[str, Any]] = {
    "usual": {"select": "pgd10"},
    "off": {},
    "paper": {"heal": "paper"},
    "auto": {"heal": "auto"},
}
#: Treatments that a whole run may be under.
TREATED = {item.name: item for item in TREATMENTS if item.changes}
_SHIPPED = Path(__file__).parents[1] / "src" / "robaudit" / "assets"
COLUMNS = ("clean", "pgd10", "square", "autoattack")


@dataclass(frozen=True)
class Setting:
    """A data set at a size, and what its runs change of the usual settings.

    Attributes:
        side: images are made so small, in pixels; 0 for as they are.
        start: a checkpoint to begin with, by its path; empty for fresh weights.

    """

    dataset: str
    changes: dict[str, Any] = field(default_factory=dict)
    side: int = 0
    start: str = ""


SETTINGS = {
    "digits-large": Setting("digits", {"eps": 0.3, "beta": 1.0, "lr": 0.3, "epochs": 32}),
    "digits-stable": Setting("digits", {"eps": 0.1, "beta": 6.0, "epochs": 20}),
    "cifar10-slice": Setting(
        "cifar10", {"arch": "resnet20", "batch_size": 64, "limit": 1000, "epochs": 3, "validation": 256}
    ),
    "distilled": Setting("digits", {"epochs": 60}, start=str(_SHIPPED / "digits_distilled.safetensors")),
}


@dataclass(frozen=True)
class Lab:
    """Where runs go, and what they are audited on."""

    out: Path
    data_dir: Path | None
    images: int

    def load(self, setting: Setting, split: str, seed: int, limit: int | None = None) -> Images:
        """A split of a setting's data set, at its size."""
        place = setting.dataset.replace("{split}", split)
        images = load_images(place, data_dir=self.data_dir, split=split, seed=seed, limit=limit)
        if not setting.side:
            return images
        small = F.interpolate(images.float(), size=(setting.side, setting.side), mode="area")
        pixels = (small * 255).round().byte()
        digest = hashlib.sha256(f"{images.sha256} at {setting.side}".encode()).hexdigest()
        return replace(images, pixels=pixels, sha256=digest)

    def settings(self, setting: Setting, given: dict[str, Any]) -> TrainSettings:
        """Those of a run that changes `given` as well."""
        images, start = self.load(setting, "train", 0), self.start(setting)
        before = settings_from(start) if start else {}
        return settings_for(setting.dataset, before | setting.changes | given, len(images))

    def start(self, setting: Setting) -> Classifier | None:
        """What runs begin with."""
        images = self.load(setting, "train", 0)
        return load_classifier(setting.start, images=images.subset(2000, 0)) if setting.start else None

    def run(self, name: str, setting: Setting, arm: dict[str, Any], seed: int) -> tuple[Path, TrainSettings]:
        """Train, or take the run that is there."""
        images, settings = self.load(setting, "train", seed), self.settings(setting, arm | {"seed": seed})
        limit = settings.limit and min(settings.limit + settings.validation, len(images))
        train(settings, images.subset(limit, seed), self.out / name, start=self.start(setting))
        return self.out / name, settings

    def attacked(self, path: Path, setting: Setting, eps: float) -> dict[str, float]:
        """Accuracies under every attack on some test examples; weights that were attacked before are not again."""
        images = self.load(setting, "test", 0, self.images)
        identity = f"{weights(path)} {images.sha256} {len(images)} {eps}"
        place = self.out / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
        if not place.exists():
            model = load_classifier(str(path), images=images, force=True)
            write_text(place, json.dumps(attack(model, images, AuditPlan(ThreatModel("Linf", eps)))))
        found: dict[str, float] = json.loads(place.read_text())
        return found | {"gap": found["pgd10"] - found["autoattack"]}


class Always(NoHealer):
    """Trains under one treatment, whatever is seen."""

    def __init__(self, treatment: Treatment) -> None:
        self._treatment = treatment

    def treatment(self) -> Treatment:
        """For every batch."""
        return self._treatment

    def state(self) -> dict[str, Any]:
        """Nothing changes."""
        return {}


@contextmanager
def treated(name: str) -> Iterator[None]:
    """Runs under the treatment of this name; as their settings say where there is none."""
    if name not in TREATED:
        yield
        return
    with patch("robaudit.training.run.make_healer", lambda _: Always(TREATED[name])):
        yield


def attack(model: Classifier, images: Images, plan: AuditPlan) -> dict[str, float]:
    """PGD-10 and Square alone; the rest of AutoAttack on what Square leaves, which gives the worst case of all four."""
    x, y, ids = images.float(), images.labels, images.ids
    search, logits = search_model(model, x.device, "fp32", x[:8]), forward(model, x)
    engine = Engine(search, model, plan.threat, 256, x.device)

    def left(name: str, standing: Tensor) -> Tensor:
        rows, after = standing.nonzero().squeeze(1), standing.clone()

        def note(group: Retired) -> None:
            after[rows[group.rows]] = group.outcome != int(Outcome.BROKEN)

        engine.run(ATTACKS[name](plan), Examples(x[rows], y[rows], ids[rows], logits[rows]), note)
        return after

    clean = logits.argmax(1) == y
    pgd10, square = left("pgd10", clean), left("square", clean)
    auto = square
    for name in ("apgd-ce", "apgd-t", "fab-t"):
        auto = left(name, auto)
    found = {"clean": clean, "pgd10": pgd10, "square": square, "autoattack": auto}
    return {name: 100 * float(value.double().mean()) for name, value in found.items()}


def weights(path: Path) -> str:
    """A digest of a checkpoint's tensors, or of its bytes where it is not a safetensors file."""
    whole = hashlib.sha256()
    if path.suffix != ".safetensors":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with safe_open(path, "pt") as file:
        for name in sorted(file.keys()):
            whole.update(name.encode() + file.get_tensor(name).contiguous().numpy().tobytes())
    return whole.hexdigest()


def kept(folder: Path) -> Path:
    """The weights that a run ends with."""
    return folder / (BEST if (folder / BEST).exists() else LAST)


def known_of(folder: Path) -> dict[str, Any]:
    """What the kept weights say of themselves."""
    with safe_open(kept(folder), "pt") as file:
        return dict(file.metadata())


def measure(lab: Lab, settings: dict[str, Setting], arms: list[str], seeds: list[int]) -> None:
    """One row for each setting and arm, and at the end each run."""
    runs = []
    heads = ("setting", "healer", *COLUMNS, "gap", "robust", "robust − AutoAttack", "s")
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for (name, setting), arm in itertools.product(settings.items(), arms):
        if setting.start and arm == arms[0]:
            before = lab.attacked(Path(setting.start), setting, lab.settings(setting, {}).inner.eps)
            print(
                f"| {name} | before | " + " | ".join(f"{value:.1f}" for value in before.values()) + " | | | |"
            )
        rows = []
        for seed in seeds:
            with treated(arm):
                folder, chosen = lab.run(f"{name}-{arm}-{seed}", setting, ARMS.get(arm, {}), seed)
            row, known = lab.attacked(kept(folder), setting, chosen.inner.eps), known_of(folder)
            row["robust"] = 100 * float(known["robust"])
            row["off"] = row["robust"] - row["autoattack"]
            row["seconds"] = sum(item["seconds"] for item in read_log(folder))
            rows.append(row)
            runs.append((name, arm, seed, known["epoch"], row))
        cells = [spread([row[column] for row in rows]) for column in rows[0]]
        print(f"| {name} | {arm} | " + " | ".join(cells) + " |", flush=True)
    print()
    for name, arm, seed, epoch, row in runs:
        numbers = ", ".join(f"{key} {value:.1f}" for key, value in row.items())
        print(f"{name} {arm} seed {seed}: epoch {epoch}, {numbers}")


def spread(values: list[float]) -> str:
    """The mean and, of several values, half the width of its 95 % interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.1f}"
    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.1f} ± {half:.1f}"


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder for the runs and the audits")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["digits-large", "digits-stable"])
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, *TREATED], default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[11, 12, 13, 21, 22])
    parser.add_argument("--images", type=int, default=1000, help="test examples of an audit")
    parser.add_argument("--from", dest="start", type=Path, help="a checkpoint, in place of the settings")
    parser.add_argument(
        "--dataset", default="cifar10", help="of that checkpoint; a path with {split} for each"
    )
    parser.add_argument("--eps", help="radius for that checkpoint; the data set's usual by default")
    parser.add_argument("--epochs", type=int, default=8, help="from that checkpoint on")
    parser.add_argument("--limit", type=int, help="training examples for that checkpoint")
    parser.add_argument("--validation", type=int, help="examples held out for that checkpoint")
    parser.add_argument(
        "--confirm", type=int, help="held-out examples for AutoAttack at the end; as usual by default"
    )
    parser.add_argument("--lr", type=float, help="rate for that checkpoint; the data set's usual by default")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lab = Lab(options.out, options.data_dir, options.images)
    settings = {name: SETTINGS[name] for name in options.settings}
    if options.start:
        changes = {"epochs": options.epochs, "limit": options.limit}
        eps = options.eps and parse_fraction(options.eps)
        given = {"eps": eps, "lr": options.lr, "validation": options.validation, "confirm": options.confirm}
        changes |= {name: value for name, value in given.items() if value is not None}
        settings = {options.start.stem: Setting(options.dataset, changes, start=str(options.start))}
    try:
        measure(lab, settings, options.arms, options.seeds)
    except RobauditError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
