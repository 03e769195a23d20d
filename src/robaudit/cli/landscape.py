"""`robaudit landscape`: the loss around images, as a picture, as data and in numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robaudit.cli.asked import check_present, check_structure
from robaudit.cli.common import (
    TRUST_HELP,
    check_apart,
    check_writable,
    console,
)
from robaudit.cli.data import DataRequest, check_device, threat_model
from robaudit.errors import RobauditError
from robaudit.escaping import plain

if TYPE_CHECKING:
    from robaudit.audit import Window
    from robaudit.evidence import Surface
    from robaudit.inputs import Classifier, Images
    from robaudit.plan import ThreatModel

#: Images whose surfaces are drawn each by itself.
_MOST_PANELS = 16


def landscape(
    models: list[str] = typer.Argument(
        ..., help="One checkpoint, or two to compare.", metavar="MODEL [MODEL2]"
    ),
    dataset: str = typer.Option(..., help="As for check."),
    out: Path = typer.Option(
        Path("landscape.png"), help="Picture to write: .png, .svg or .pdf; the data go beside it as .npz."
    ),
    images: int = typer.Option(
        16, help="How many images; the picture shows the median one's surface and the most rugged one's."
    ),
    each: bool = typer.Option(False, "--each", help="Draw the surface of every image."),
    mean: bool = typer.Option(False, "--mean", help="Draw the mean surface, which hides how rugged each is."),
    grey: bool = typer.Option(False, "--grey", help="Draw in grey."),
    example: list[int] = typer.Option(
        [], help="An image by its place in the split, as reports name it; may be repeated."
    ),
    grid: int = typer.Option(51, help="Points a side, odd."),
    span: float = typer.Option(1.0, help="Largest offset in either direction, as a multiple of eps."),
    exact: bool = typer.Option(
        False, "--exact", help="Compute every point; by default smooth surfaces are interpolated on the CPU."
    ),
    norm: str = typer.Option("Linf", help="Linf or L2."),
    eps: str | None = typer.Option(
        None, help="Scale of the axes, for example 8/255; by default the data set's usual radius."
    ),
    seed: int = typer.Option(0, help="Fixes the images and the random direction."),
    data_dir: Path | None = typer.Option(None, help="Where named data sets lie."),
    split: str = typer.Option("test", help="Which split."),
    image_size: str | None = typer.Option(None, help="As for check."),
    download: bool = typer.Option(False, help="Fetch an absent data set without asking."),
    arch: str | None = typer.Option(None, help="As for check."),
    normalise: str | None = typer.Option(None, help="As for check."),
    key: str | None = typer.Option(None, help="As for check."),
    trust_program: bool = typer.Option(False, "--trust-program", help=TRUST_HELP),
    device: str = typer.Option("auto", help="auto, cpu, cuda …"),
) -> int:
    """Draw the loss around images along the input gradient's sign and a random direction.

    An honest model's surface is smooth and rises along the gradient; a masked one's is rugged, or flat while the
    decision boundary runs through it. Each surface has a scale of its own, which is said on it. The numbers are in
    units of log K, the loss of a guess among K classes.

    Example: robaudit landscape honest.pt masked.pt --dataset cifar10 --out landscape.png
    """
    check_present(*models)
    data = DataRequest(dataset, data_dir, split, seed, download, image_size, tuple(models))
    data.check()
    check_structure(arch, normalise, dataset)
    check_device(device)
    threat = threat_model(norm, eps, dataset)
    from robaudit.reports import PICTURE_FORMATS, draw_landscapes, landscape_numbers

    if each and mean:
        raise RobauditError("--mean: not with --each; choose one")
    _check_request(models, out, images, PICTURE_FORMATS, len(example) or images if each else 1)
    files = [out.with_suffix(".npz"), out.with_suffix(".2.npz")][: len(models)]
    for file in (out, *files):
        check_apart(inputs=[*models, dataset, arch], out=file)
    from robaudit.audit import Window
    from robaudit.devices import pick_device
    from robaudit.inputs import load_classifier

    try:
        window = Window(grid, span, exact)
    except ValueError as error:
        raise RobauditError(str(error)) from error
    where = pick_device(device)
    all_images = data.load()
    chosen = _choose(all_images, example, images)
    surfaces = []
    for model in models:
        classifier = load_classifier(
            model, arch=arch, normalise=normalise, key=key, images=all_images, trust_program=trust_program
        )
        surfaces.append(_measured(classifier, chosen, threat, window, seed, where))
    for surface, file in zip(surfaces, files, strict=True):
        surface.save(file)
    which = "each" if each else "mean" if mean else "typical"
    draw_landscapes(surfaces, out, which=which, colours="grey" if grey else "colour")
    screen = console()
    screen.print(landscape_numbers(surfaces))
    screen.print(plain(f"picture: {out}   data: {', '.join(map(str, files))}"), markup=False, soft_wrap=True)
    return 0


def _check_request(models: list[str], out: Path, images: int, formats: tuple[str, ...], panels: int) -> None:
    if len(models) > 2:
        raise RobauditError(f"{models[2]}: a picture holds at most two models; draw the others by themselves")
    if out.suffix not in formats:
        raise RobauditError(f"{out}: unknown kind of picture; end its name in {' or '.join(formats)}")
    if images < 1:
        raise RobauditError(f"images {images} must be at least 1")
    if panels > _MOST_PANELS:
        raise RobauditError(
            f"images {panels}: --each draws at most {_MOST_PANELS}; pass --images {_MOST_PANELS}"
        )
    check_writable(str(out))


def _choose(images: Images, ids: list[int], count: int) -> Images:
    """Those named, or the first `count` of the random order."""
    if not ids:
        rows = list(range(min(count, len(images))))
    else:
        place = {key: row for row, key in enumerate(images.ids.tolist())}
        unknown = [key for key in ids if key not in place]
        if unknown:
            raise RobauditError(
                f"example {unknown[0]}: not in {images.name} {images.split}, which has {len(images)}"
            )
        rows = [place[key] for key in ids]
    return replace(images, pixels=images.pixels[rows], labels=images.labels[rows], ids=images.ids[rows])


def _measured(
    classifier: Classifier, images: Images, threat: ThreatModel, window: Window, seed: int, device: str
) -> Surface:
    from robaudit.audit import measure_landscape

    with _bar("landscape") as advance:
        return measure_landscape(
            classifier,
            images,
            threat,
            window=window,
            seed=seed,
            device=device,
            advance=advance,
        )


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, where somebody looks at a terminal."""
    from rich import progress
    from rich.console import Console

    screen = Console(stderr=True, emoji=False)
    if not screen.is_terminal:
        yield lambda done, total: None
        return
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=screen, transient=True) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
