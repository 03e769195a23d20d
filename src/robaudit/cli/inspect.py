"""`robaudit inspect`: what a file is, without a data set."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from robaudit.cli.asked import check_present, check_structure
from robaudit.cli.common import (
    TRUST_HELP,
    check_apart,
    check_writable,
    console,
    write_text,
)
from robaudit.escaping import json_text, plain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from robaudit.inputs import Inspection

_SHOWN_TENSORS = 12


def inspect(
    model: str = typer.Argument(..., help="Checkpoint.", metavar="MODEL"),
    arch: str | None = typer.Option(None, help="An architecture to compare it with."),
    key: str | None = typer.Option(None, help="Which model of a file that holds several."),
    trust_program: bool = typer.Option(False, "--trust-program", help=TRUST_HELP),
    tensors: bool = typer.Option(False, help="List every tensor."),
    json_path: str | None = typer.Option(None, "--json", help="Write it as JSON; - prints only it."),
) -> int:
    """Say what a checkpoint is: format, tensors, architecture, classes, and what else it carries.

    Nothing in the file is executed, unless --trust-program says so.

    Example: robaudit inspect model.pt
    """
    check_writable(json_path)
    check_present(model)
    check_structure(arch, None)
    check_apart(model=model, json=json_path)
    from robaudit.inputs import inspect_checkpoint

    found = inspect_checkpoint(model, arch=arch, key=key, trust_program=trust_program)
    if json_path:
        write_text(json_path, json_text(asdict(found)))
    if json_path != "-":
        console().print(_table(found, _SHOWN_TENSORS if not tensors else len(found.tensors)))
    return 0


def _table(found: Inspection, shown: int) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in asdict(found).items():
        if name == "tensors":
            continue
        for line in _lines(value):
            table.add_row(name.replace("_", " "), Text(plain(line)))
            name = ""  # noqa: PLW2901  the name stands once, before its first line
    for number, (name, shape, kind) in enumerate(found.tensors[:shown]):
        table.add_row("tensors" if not number else "", Text(plain(f"{name}  {tuple(shape)}  {kind}")))
    if len(found.tensors) > shown:
        table.add_row("", Text(f"and {len(found.tensors) - shown} more; --tensors lists them"))
    return table


def _lines(value: Any) -> list[str]:
    """A field as lines of text; none where it is empty."""
    if value is None or value in ((), "", {}):
        return []
    if isinstance(value, int):
        return [f"{value:,}"]
    if isinstance(value, dict):
        return [f"{name}: {item}" for name, item in value.items()]
    if isinstance(value, tuple) and value and all(isinstance(item, tuple) for item in value):
        return ["  ".join(map(str, item)) for item in value]
    if isinstance(value, tuple) and value and all(isinstance(item, str) for item in value):
        return list(value)
    return [str(value)]
