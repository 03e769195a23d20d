"""What the commands share: the exit code of a verdict, the console, writing files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from robaudit import files
from robaudit.errors import RobauditError

if TYPE_CHECKING:
    from rich.console import Console

    from robaudit.evidence import Header
    from robaudit.verdict import Verdict

_EXIT_CODES = {"not-overestimated": 0, "overestimated": 1, "inconclusive": 3}


def exit_code(verdict: Verdict) -> int:
    """1 when overestimated, or less is left than is claimed or demanded; 3 when that is open; else 0."""
    codes = {_EXIT_CODES[verdict.outcome]}
    for asked in (verdict.claim, verdict.minimum):
        if asked:
            codes.add({"refuted": 1, "consistent": 0, "inconclusive": 3}[asked.outcome])
    return next(code for code in (1, 3, 0) if code in codes)


def image_shape(header: Header) -> tuple[int, int, int] | None:
    """(C, H, W) of the images that evidence is about; None where its header does not say three sizes."""
    sizes = [int(size) for size in header.data["shape"]]
    return (sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 and all(0 < n < 1 << 14 for n in sizes) else None


def console() -> Console:
    """Standard output; plain and wide enough for a table when it is not a terminal."""
    from rich.console import Console

    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=110)


def write_text(path: str, text: str) -> None:
    """Write `text` to `path` at once or not at all; `-` is standard output.

    Raises:
        RobauditError: it cannot be written.

    """
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        files.write_text(Path(path), text)
    except OSError as error:
        raise RobauditError(f"{path}: cannot be written ({error.strerror}); choose another path") from error


def check_writable(path: str | None) -> None:
    """Refuse an output that cannot be written before any work is done for it."""
    if path is None or path == "-":
        return
    target = Path(path)
    if target.is_dir():
        raise RobauditError(f"{path}: is a folder; give a file name")
    if not target.parent.is_dir():
        raise RobauditError(f"{target.parent}: no such folder; create it or choose another path")


def check_present(*models: str) -> None:
    """Refuse a path that does not exist before anything slow is imported; `KIND:NAME` is looked up later.

    Raises:
        RobauditError: no such file.

    """
    for model in models:
        if ":" not in model and not Path(model).expanduser().exists():
            raise RobauditError(f"{model}: no such file or directory; pass a checkpoint's path")
