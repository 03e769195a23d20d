"""What `robaudit train` does: settings from flags, the run, and before and after side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.cli.common import console
from robaudit.cli.live import watched
from robaudit.cli.trackers import Tracked, tracked
from robaudit.cli.train_settings import settings_for
from robaudit.cli.training_words import command_line, summary
from robaudit.errors import RobauditError
from robaudit.escaping import plain
from robaudit.evidence import Evidence
from robaudit.inputs import DATASETS, Classifier, Images, is_factory, load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel
from robaudit.plan import title as title_of
from robaudit.reports.run_plots import draw_run
from robaudit.torchrun import is_first_process
from robaudit.training import TrainSettings, train
from robaudit.training.checkpoints import BEST, LAST
from robaudit.verdict import accuracy, judge, shared

#: Test examples of the audits before and after.
_AUDITED_EXAMPLES = 500


@dataclass(frozen=True)
class TrainRequest:
    """What the flags say besides the settings of the run."""

    dataset: str
    out: Path
    data_dir: Path | None
    download: bool
    start: str | None
    quiet: bool
    log: str | None


def settings_from(start: Classifier) -> dict[str, Any]:
    """What a run from a checkpoint's weights begins with."""
    return {
        "start_from": start.info.digest,
        "arch": start.info.architecture,
        "normalise": start.info.normalisation,
        "clip": 1.0,  # strange weights: one wild step would wreck them
    }


def carry_out(request: TrainRequest, given: dict[str, Any]) -> int:
    """Train as the flags say."""
    images = load_images(
        request.dataset,
        data_dir=request.data_dir,
        split="train",
        seed=given["seed"],
        download=request.download,
    )
    start = None
    if request.start:
        start = _load_start(request.start, images, given)
        given = settings_from(start) | given | {"arch": start.info.architecture}
    settings = settings_for(request.dataset, given, len(images))
    limit = settings.limit and min(settings.limit + settings.validation, len(images))
    images = images.subset(limit, settings.seed)
    command = command_line(settings, request)
    first = request.log if is_first_process() else None
    about = {"command": command, "dataset": request.dataset, "method": settings.method, "seed": settings.seed}
    with (
        watched(request.quiet) as seen,
        tracked(first, request.out.name, about, request.out / "tensorboard") as log,
    ):
        progress = Tracked(log, seen)
        rows = train(settings, images, request.out, start=start, progress=progress, command=command)
    if is_first_process():
        draw_run(request.out, request.out / "curves.png")
        if request.start:
            _before_and_after(request, settings)
        for line in () if request.quiet else summary(rows, settings, request):
            console().print(plain(line), markup=False, soft_wrap=True)
    return 0


def _load_start(path: str, images: Images, given: dict[str, Any]) -> Classifier:
    advice = "give a state dict of an architecture that robaudit knows"
    few = images.subset(2000, 0)
    try:
        found = load_classifier(path, arch=given.get("arch"), normalise=given.get("normalise"), images=few)
    except RobauditError as error:
        if "--trust-program" not in str(error):
            raise RobauditError(
                str(error).replace(", or --force to go on", "")
            ) from error  # nor is there that
        # Trusted or not, it could not be trained.
        raise RobauditError(
            f"--from {path}: is a program, whose weights cannot be trained here; {advice}"
        ) from error
    if found.info.format in ("onnx", "torchscript", "pt2", "factory") or is_factory(found.info.architecture):
        raise RobauditError(
            f"--from {path}: is a {found.info.format}, whose weights cannot be trained here; {advice}"
        )
    return found


def _before_and_after(request: TrainRequest, settings: TrainSettings) -> None:
    """Both checkpoints through the same audit, as two columns."""
    from rich.table import Table

    after = request.out / (BEST if (request.out / BEST).exists() else LAST)
    split = (
        "test" if request.dataset not in DATASETS or "test" in DATASETS[request.dataset].splits else "train"
    )
    images = load_images(
        request.dataset, data_dir=request.data_dir, split=split, limit=_AUDITED_EXAMPLES, seed=settings.seed
    )
    plan = AuditPlan(
        ThreatModel("Linf", settings.inner.eps), seed=settings.seed, limit=len(images), budget=Budget()
    )
    found = [
        _audited(str(path), images, plan, settings.device, request.quiet) for path in (request.start, after)
    ]
    table = Table(box=None, pad_edge=False)
    for title in ("", "before", "after"):
        table.add_column(title, justify="right" if title else "left")
    table.add_row("verdict", *(judge(item).outcome for item in found))
    masks = _in_common(found)
    for name in ("clean", "pgd10", "square", "autoattack"):
        table.add_row(
            title_of(name), *(_cell(item, name, mask) for item, mask in zip(found, masks, strict=True))
        )
    for name, words in (("fosc_normalised", "FOSC, normalised"), ("sgcs", "SGCS")):
        values = [getattr(item, name)[mask] for item, mask in zip(found, masks, strict=True)]
        table.add_row(words, *(f"{float(item[np.isfinite(item)].mean()):.3f}" for item in values))
    table.add_row("examples, the same", *(str(int(mask.sum())) for mask in masks))
    if not request.quiet:
        console().print(table)


def _audited(path: str, images: Images, plan: AuditPlan, device: str, quiet: bool) -> Evidence:
    from robaudit.audit import audit, default_evidence, progress_bars

    model = load_classifier(path, images=images)
    place = default_evidence(path, model.info, plan, images)
    with progress_bars(quiet=quiet) as bars:
        return audit(model, images, plan, path=place, device=device, progress=bars)


def _in_common(found: list[Evidence]) -> list[NDArray[np.bool_]]:
    """(n,) bool of each audit: the examples known under every row of both, which took them in the same order."""
    size = min(map(len, found))
    both = np.logical_and.reduce([shared(item)[:size] for item in found])
    return [np.concatenate([both, np.zeros(len(item) - size, dtype=bool)]) for item in found]


def _cell(evidence: Evidence, name: str, among: NDArray[np.bool_]) -> str:
    found = accuracy(evidence, name, among)
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} … {100 * found.high:.1f})" if found else ""
