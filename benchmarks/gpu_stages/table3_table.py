"""What `table3` found, beside the paper's Tables 1 and 3."""

from __future__ import annotations

from typing import Any

from gpu_stages.calls import table
from gpu_stages.paper import COLUMNS, TABLE1, TABLE3
from robaudit.stats import proportion


def table3_table(names: dict[str, str], parts: dict[str, Any]) -> str:
    """A line a checkpoint, on the examples that all of them were audited on; then the paper's."""
    numbers = {name: {key.split()[1] for key in parts if key.split()[0] == name} for name in names}
    shared = sorted(set.intersection(*numbers.values())) if numbers else []
    head = ("", *COLUMNS.values(), "PGD-10 − AutoAttack", "FOSC", "SGCS")
    rows: list[list[str]] = []
    size = 0
    for name, title in names.items():
        mine = [parts[f"{name} {number}"] for number in shared]
        size = sum(part["examples"] for part in mine)
        if size:
            rows.append([title, *_measured(mine, size)])
    rows += [_of_table1(name) for name in TABLE1]
    rows += [_of_table3(name) for name in TABLE3]
    on = ", ".join(sorted({part["on"] for part in parts.values()})) or "nothing done yet"
    precision = ", ".join(sorted({part["precision"] for part in parts.values()}))
    header = f"table3, {on}, {size} examples, each attack alone, search in {precision or 'nothing yet'}"
    return f"{header}\n\n{table(head, rows)}"


def _measured(mine: list[dict[str, Any]], size: int) -> list[str]:
    """Percent with the half-width of 95 % intervals."""

    def cell(count: int) -> str:
        found = proportion(count, size, 0.95)
        return f"{100 * found.value:.1f} ± {50 * (found.high - found.low):.1f}"

    def robust(name: str) -> int:
        return sum(part["clean"] if name == "clean" else part["robust"][name] for part in mine)

    gap = 100 * (robust("pgd10") - robust("autoattack")) / size
    metrics = (sum(part["metrics"][name] for part in mine) / size for name in ("fosc", "sgcs"))
    return [*(cell(robust(name)) for name in COLUMNS), f"{gap:.1f}", *(f"{value:.3f}" for value in metrics)]


def _of_table1(name: str) -> list[str]:
    values = TABLE1[name]
    gap = values[1] - values[2]
    return [f"paper, Table 1, {name}", *(f"{value:.1f}" for value in values), f"{gap:.1f}", "", ""]


def _of_table3(name: str) -> list[str]:
    clean, pgd, auto, gap = (f"{mean:.1f} ± {spread:.1f}" for mean, spread in TABLE3[name])
    return [f"paper, Table 3, {name}", clean, pgd, auto, "", "", "", "", gap, "", ""]
