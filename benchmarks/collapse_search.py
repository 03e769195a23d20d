"""Where does TRADES collapse, and cross-entropy inside does not? The paper's case, looked for in small on a CPU.

    python benchmarks/collapse_search.py --out runs --minutes 40 --data-dir DIR
    python benchmarks/collapse_search.py --out runs --minutes 40 --data-dir DIR --only cifar100

Every setting is of the paper's kind in something: small batches, a small beta, a large rate, a wider network for fewer
images, many classes, crops and flips, real images at 16 × 16. `trades-ce` is run where TRADES leaves a gap of `LARGE`
points. A run that is in the folder already is not repeated. The bound is on the processor minutes of one thread, those
of earlier calls included.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from healing import Lab, Setting

from robaudit.errors import RobauditError
from robaudit.reports.run_curves import read_log

#: Points that PGD-10 leaves more than the worst case, in the mean of the last epochs: a gap, and a difference of two.
LARGE, APART, LAST = 8.0, 6.0, 5
_WIDE = "sequential:conv64k3p1 relu conv128k3s2p1 relu flatten fc256 relu fcK"
_NET16 = "sequential:conv32k3s2p1 relu conv64k3s2p1 relu flatten fc128 relu fcK"
_NORMED16 = "sequential:conv32k3p1 bn relu conv64k3s2p1 bn relu conv64k3s2p1 bn relu flatten fcK"


def candidates() -> Iterator[tuple[str, Setting]]:
    """Names and settings, the quickest first."""
    small: dict[str, Any] = {"epochs": 24, "validation": 128}
    for eps, beta, lr, batch in product((0.2, 0.3), (1.0, 0.5), (0.1, 0.3), (100, 25)):
        changes = small | {"eps": eps, "beta": beta, "lr": lr, "batch_size": batch}
        yield f"digits, eps {eps:g}, beta {beta:g}, rate {lr:g}, batch {batch}", Setting("digits", changes)
    for eps, limit in product((0.2, 0.3), (200, 500)):
        changes = small | {
            "eps": eps,
            "beta": 1.0,
            "lr": 0.1,
            "batch_size": 25,
            "limit": limit,
            "arch": _WIDE,
        }
        yield f"digits, {limit} images, wider, eps {eps:g}", Setting("digits", changes)
    real = {"epochs": 10, "validation": 256, "arch": _NET16, "augment": "crop-flip", "beta": 1.0}
    for (name, limit), eps, batch in product(
        (("cifar100", 5000), ("cifar10", 5000)), (8 / 255, 16 / 255), (32, 128)
    ):
        changes = real | {"eps": eps, "batch_size": batch, "limit": limit, "lr": 0.1}
        yield f"{name} at 16 × 16, eps {255 * eps:g}/255, batch {batch}", Setting(name, changes, side=16)
    long = real | {"arch": _NORMED16, "epochs": 40, "eps": 8 / 255, "lr": 0.1, "limit": 2000}
    for (name, augment), batch, beta in product(
        (("cifar100", "crop-flip"), ("cifar100", "none"), ("cifar10", "crop-flip")), (128, 32), (1.0, 0.3)
    ):
        changes = long | {"augment": augment, "batch_size": batch, "beta": beta}
        title = f"{name} at 16 × 16, batch norm, 40 epochs, augment {augment}, batch {batch}, beta {beta:g}"
        yield title, Setting(name, changes, side=16)
    many = real | {"arch": _NORMED16, "epochs": 60, "batch_size": 32, "lr": 0.1}  # 9,400 steps
    for eps, beta in product((8 / 255, 16 / 255), (1.0, 0.3)):
        title = f"cifar100 at 16 × 16, batch norm, 60 epochs of 5,000, eps {255 * eps:g}/255, beta {beta:g}"
        yield title, Setting("cifar100", many | {"eps": eps, "beta": beta, "limit": 5000}, side=16)


def ended(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Means of the last epochs, in percent; the largest gap of all epochs, and how many became masked."""
    found = {
        name: 100 * fmean(row[name] for row in rows[-LAST:]) for name in ("clean", "pgd10", "robust", "gap")
    }
    return found | {
        "largest": 100 * max(row["gap"] for row in rows),
        "masked": sum(row["masked"] for row in rows),
    }


def search(lab: Lab, minutes: float, seed: int, only: str) -> None:
    """A row a setting with `only` in its name, until the time is over."""
    place = lab.out / "minutes.json"
    before = float(json.loads(place.read_text())) if place.exists() else 0.0
    print("| setting | inside | clean | PGD-10 | robust | gap | largest gap | masked epochs |", flush=True)
    print("|---" * 8 + "|")
    for name, setting in ((name, setting) for name, setting in candidates() if only in name):
        gaps = []
        for method in ("trades", "trades-ce"):
            spent = before + time.process_time() / 60
            folder = lab.out / f"{name.replace('/', ' of ')} {method}"
            if spent > minutes and not folder.exists():
                print(f"\n{minutes:g} minutes of one processor are over")
                return
            lab.run(folder.name, setting, {"method": method, "threads": 1}, seed)
            place.write_text(json.dumps(before + time.process_time() / 60))
            found = ended(read_log(folder))
            gaps.append(found["gap"])
            inside = "divergence" if method == "trades" else "cross-entropy"
            print(
                f"| {name} | {inside} | " + " | ".join(f"{value:.1f}" for value in found.values()) + " |",
                flush=True,
            )
            if gaps[0] < LARGE:
                break
        if len(gaps) == 2 and gaps[0] - gaps[1] >= APART:
            print(
                f"| **{name}** | collapses with the divergence alone | | | | {gaps[0] - gaps[1]:+.1f} | | |"
            )


def main() -> None:
    """The search."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--only", default="", help="settings with this in their names, cifar100 for example")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    try:
        search(Lab(options.out, options.data_dir, 0), options.minutes, options.seed, options.only)
    except RobauditError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
