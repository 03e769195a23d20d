"""`robaudit datasets`, `architectures` and `attacks`: what there is by name, each without importing torch."""

from __future__ import annotations

from typing import Any

import typer

from robaudit.architectures import FORMS, NETWORKS
from robaudit.cli.common import console, write_text
from robaudit.datasets import DATASETS
from robaudit.escaping import json_text, plain
from robaudit.places import data_folder
from robaudit.plan import ATTACK_NAMES, AUTOATTACK, STANDARD_ATTACKS, VERSIONS, ask, eps_text, title

_JSON = typer.Option(False, "--json", help="Print it as JSON.")
#: Names that stand for several attacks.
_SEVERAL = ("autoattack", "paper")
#: What each attack is, in a line.
DESCRIPTIONS: dict[str, str] = {
    "pgd10": "the usual white-box test: projected gradient descent on the cross-entropy, 10 steps",
    "apgd-ce": "APGD on the cross-entropy: PGD that halves its step where it stops gaining",
    "apgd-dlr": "APGD on the difference of logits ratio",
    "fab": "the smallest change to the nearest other class, by linear steps",
    "apgd-t": "APGD on the targeted difference of logits ratio, one target class after the other",
    "fab-t": "the smallest change to each target class, by linear steps",
    "square": "random squares, accepted where they lower the margin; no gradients",
}


def datasets(as_json: bool = _JSON) -> int:
    """List the data sets with a name: classes, image size, usual radii, splits.

    They are looked for in --data-dir, else in ROBAUDIT_DATA, else in the cache folder.

    Example: robaudit datasets
    """
    rows = [
        {
            "name": name,
            "classes": spec.classes,
            "shape": list(spec.shape),
            "eps_linf": spec.eps_linf,
            "eps_l2": spec.eps_l2,
            "eps_l1": spec.eps_l1,
            "splits": list(spec.splits),
            "download": bool(spec.torchvision),
        }
        for name, spec in DATASETS.items()
    ]
    if as_json:
        write_text("-", json_text({"folder": str(data_folder()), "datasets": rows}))
        return 0
    shown = [
        (
            name,
            str(spec.classes),
            " x ".join(map(str, spec.shape)),
            eps_text(spec.eps_linf),
            eps_text(spec.eps_l2),
            ", ".join(spec.splits),
            "--download" if spec.torchvision else "at hand" if name == "digits" else "by hand",
        )
        for name, spec in DATASETS.items()
    ]
    _print_table(("name", "classes", "image", "eps Linf", "eps L2", "splits", "how it comes"), shown)
    console().print(
        plain(
            f"Looked for in {data_folder()}. Any folder of class folders, .npz or .safetensors will do as well."
        ),
        markup=False,
        soft_wrap=True,
    )
    return 0


def architectures(as_json: bool = _JSON) -> int:
    """List the networks that --arch takes by name; files without a name are recovered from their tensors.

    Example: robaudit architectures
    """
    if as_json:
        write_text("-", json_text({"names": NETWORKS, "forms": FORMS}))
        return 0
    _print_table(("family", "names"), [(family, "  ".join(names)) for family, names in NETWORKS.items()])
    console().print()
    _print_table(("form", "what it is"), list(FORMS.items()))
    return 0


def attacks(as_json: bool = _JSON) -> int:
    """List the attacks that --attacks takes, and which are run by default.

    Example: robaudit attacks
    """
    rows = [
        {
            "name": name,
            "title": title(name),
            "default": name in STANDARD_ATTACKS,
            "autoattack": name in AUTOATTACK,
            "description": DESCRIPTIONS[name],
        }
        for name in ATTACK_NAMES
    ]
    if as_json:
        several = {name: ask([name]).attacks for name in _SEVERAL}
        write_text("-", json_text({"attacks": rows, "several": several, "versions": list(VERSIONS)}))
        return 0
    shown = [
        (
            item["name"],
            item["title"],
            "yes" if item["default"] else "",
            "yes" if item["autoattack"] else "",
            item["description"],
        )
        for item in rows
    ]
    _print_table(("name", "is called", "by default", "of AutoAttack", "what it does"), shown)
    for name in _SEVERAL:
        console().print(f"{name}: {', '.join(ask([name]).attacks)}", markup=False, soft_wrap=True)
    console().print(f"--version: {', '.join(VERSIONS)}", markup=False, soft_wrap=True)
    return 0


def _print_table(columns: tuple[str, ...], rows: list[Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console().print(table)
