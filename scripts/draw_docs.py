#!/usr/bin/env python3
"""Draw the pictures of the documentation into `docs/pictures/`, small enough for a repository.

    python scripts/draw_docs.py MODELS_DIR DATA_DIR WORK_DIR

MODELS_DIR holds the two published checkpoints named below, DATA_DIR CIFAR-10; WORK_DIR keeps the evidence
and the landscapes, so that a second run only draws. The parts of a report are taken by a headless Chromium
(ROBAUDIT_BROWSER, or `chromium` on the path).
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from importlib import resources
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from robaudit.cli import run

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
DEMO = ("digits_adversarial.safetensors", "digits_distilled.safetensors")
PUBLISHED = ("cifar10_cnn6_pgd.pth", "cifar10_lenet_masked.pth")
#: Parts of the report of the masked demo network, and the picture's name.
PARTS = {
    "#verdict": "verdict",
    "ul.causes > li:nth-child(4)": "finding",
    "#gap": "gap",
    "#curves": "curves",
    "#convergence": "convergence",
    "#landscape .figures >> nth=0": "surface",
    "#witnesses": "witnesses",
}
_WIDEST, _COLOURS = 1400, 160


def save(data: bytes, name: str, widest: int = _WIDEST) -> None:
    """Write one picture with few colours, no wider than `widest`."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if image.width > widest:
        image = image.resize((widest, round(image.height * widest / image.width)), Image.Resampling.LANCZOS)
    image.quantize(_COLOURS).save(PICTURES / f"{name}.png", optimize=True)


def command(*words: object) -> None:
    """One command of robaudit; its verdict is not a failure."""
    if run([str(word) for word in words]) not in (0, 1, 3):
        sys.exit(f"failed: {words}")


def main(models: Path, data: Path, work: Path) -> None:
    """Audit, draw and photograph."""
    work.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    models, data = models.resolve(), data.resolve()
    os.chdir(work)  # so that no picture shows a path of this machine
    for name, asset in zip(("honest", "masked"), DEMO, strict=True):
        shutil.copyfile(str(resources.files("robaudit") / "assets" / asset), f"{name}.safetensors")
    pairs: tuple[tuple[str, list[object], list[object]], ...] = (
        ("landscape-demo", ["honest.safetensors", "masked.safetensors"], ["--dataset", "digits"]),
        (
            "landscape-published",
            [models / name for name in PUBLISHED],
            ["--dataset", "cifar10", "--data-dir", data],
        ),
    )
    for name, pair, flags in pairs:
        if not Path(f"{name}.png").exists():
            command("landscape", *pair, *flags, "--out", f"{name}.png")
        save(Path(f"{name}.png").read_bytes(), name)
    command("check", "masked.safetensors", "--dataset", "digits", "--evidence", "masked.evidence")
    landscape = ["--landscape", "landscape-demo.2.npz"]
    command("report", "masked.evidence", "--format", "html", *landscape, "--out", "masked.html")
    photograph(Path("masked.html"))


def photograph(file: Path) -> None:
    """The first screen of a report, and its parts."""
    browser_path = os.environ.get("ROBAUDIT_BROWSER") or shutil.which("chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.goto(file.absolute().as_uri())
        save(page.screenshot(), "report", 1000)
        for selector, name in PARTS.items():
            save(page.locator(selector).first.screenshot(), name, 900)
        phone = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        phone.goto(file.absolute().as_uri())
        save(phone.screenshot(), "report-phone", 390)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
