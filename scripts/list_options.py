"""Write docs/options.md, every option of every command, from the command line's own help.

python scripts/list_options.py        # a test says when it is due
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from robaudit.cli.app import app
from robaudit.cli.help import panel_of

PAGE = Path(__file__).parent.parent / "docs" / "options.md"
_HEAD = """# Every option

By command, as `robaudit COMMAND --help` prints it; what the commands do: [command line](commands.md). Written by
`scripts/list_options.py`.
"""


def page() -> str:
    """The page's text."""
    group: Any = typer.main.get_command(app)
    lines = [_HEAD, *_section("robaudit", group)]
    for name, command in group.commands.items():
        lines += _section(name, command)
    return "\n".join(lines)


def _section(name: str, command: Any) -> Iterator[str]:
    yield f"## {name}\n"
    yield "| option | panel | what it says *(default)* |"
    yield "|---|---|---|"
    for parameter in command.params:
        if parameter.name not in ("install_completion", "show_completion"):
            flag = parameter.metavar or parameter.name.upper()
            if parameter.param_type_name == "option":
                flag = " / ".join((*parameter.opts, *parameter.secondary_opts))
            yield f"| `{flag}` | {panel_of(parameter)} | {_cell(parameter.help or '')}{_default(parameter)} |"
    yield ""


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return " *(required)*"
    shown = "" if value is None or value is False or value == [] or callable(value) else str(value)
    return f" *({shown})*" if shown else ""


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("[", "\\[").replace("<", "\\<")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
