"""What the commands share: the exit code of a verdict, the console, writing files."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from robaudit import files
from robaudit.errors import RobauditError
from robaudit.places import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from robaudit.evidence import Header
    from robaudit.verdict import Verdict

#: Help of `--trust-program`.
TRUST_HELP = (
    "Run the code of a TorchScript file that cannot be read as data: it can then do on this machine whatever you can. "
    "Only for files whose maker you trust."
)
#: How an evidence file begins.
_DATABASE = b"SQLite format 3\0"
_EXIT_CODES = {"not-overestimated": 0, "overestimated": 1, "inconclusive": 3}


def exit_code(verdict: Verdict, ignored: Collection[str] = ()) -> int:
    """1 when overestimated, or less is left than is claimed or demanded; 3 when that is open; else 0.

    Args:
        verdict: of an audit.
        ignored: findings that count for nothing: `overestimated`, `inconclusive`, `below-minimum`, `claim-refuted`.

    """
    found: set[tuple[str, int]] = {(verdict.outcome, _EXIT_CODES[verdict.outcome])}
    for asked, refuted in ((verdict.claim, "claim-refuted"), (verdict.minimum, "below-minimum")):
        if asked and asked.outcome != "consistent":
            found.add((refuted, 1) if asked.outcome == "refuted" else ("inconclusive", 3))
    codes = {code for name, code in found if name not in ignored}
    return next((code for code in (1, 3) if code in codes), 0)


def image_shape(header: Header) -> tuple[int, int, int] | None:
    """(C, H, W) of the images that evidence is about; None where its header does not say three sizes."""
    sizes = [int(size) for size in header.data["shape"]]
    return (sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 and all(0 < n < 1 << 14 for n in sizes) else None


def check_order(evidence: Path, model: str) -> None:
    """Refuse evidence and checkpoint in each other's place, before either is read.

    Raises:
        RobauditError: the first is not a database and the second is one.

    """
    first, second = (_begins(path) for path in (evidence, Path(model)))
    if second == _DATABASE != first:
        raise RobauditError(f"{model}: is evidence; it comes first: robaudit verify EVIDENCE MODEL")


def _begins(path: Path) -> bytes:
    try:
        return files.read_file(path, sys.maxsize, len(_DATABASE))
    except (OSError, ValueError):
        return b""


def image_classes(header: Header) -> int:
    """How many classes the images have that evidence is about; 0 where its header does not say."""
    classes = header.data.get("classes", 0)
    return classes if type(classes) is int and 0 < classes < 1 << 20 else 0


def console() -> Console:
    """Standard output; plain and wide enough for a table when it is not a terminal."""
    from rich.console import Console

    out = Console(highlight=False, emoji=False)
    return out if out.is_terminal else Console(highlight=False, emoji=False, width=110)


def write_text(path: str, text: str) -> None:
    """Write `text` to `path` at once or not at all; `-` is standard output.

    Raises:
        RobauditError: it cannot be written.

    """
    if path == "-":
        _print(text)
        return
    try:
        files.write_text(Path(path), text)
    except OSError as error:
        raise RobauditError(f"{path}: cannot be written ({error.strerror}); choose another path") from error


def _print(text: str) -> None:
    """A document to standard output: as it is, in UTF-8, unless somebody looks at it."""
    out = sys.stdout
    if out is None:
        raise RobauditError("-: standard output is closed; give a file")
    if out.isatty() or codecs.lookup(out.encoding or "utf-8").name == "utf-8" or not hasattr(out, "buffer"):
        out.write(text)
        return
    out.flush()
    out.buffer.write(text.encode(errors="replace"))


def check_writable(path: str | None) -> None:
    """Refuse an output that cannot be written before any work is done for it."""
    if path is None or path == "-":
        return
    target = Path(path)
    if target.is_dir():
        raise RobauditError(f"{path}: is a folder; give a file name")
    if not target.parent.is_dir():
        raise RobauditError(f"{target.parent}: no such folder; create it or choose another path")
    special = target.exists() and not target.is_file()
    if not os.access(target if special else target.parent, os.W_OK):
        raise RobauditError(f"{path}: cannot be written here; choose another path")


def check_apart(*, inputs: Iterable[str | Path | None] = (), **places: str | Path | None) -> None:
    """Refuse two of these that are one file: what is written last would be all that is left.

    Args:
        inputs: files that are read, which may be one; of `FILE.py:FACTORY` the file.
        places: flag or argument, with `_` for `-`, and what it names; None names nothing.

    Raises:
        RobauditError: two are the same file, or two are standard output.

    """
    seen = {_resolved(_file_of(place)): "input" for place in inputs if place is not None}
    for name, place in places.items():
        if place is None:
            continue
        where = "-" if str(place) == "-" else _resolved(place)
        other = seen.setdefault(where, name)
        if other != name and where != os.devnull:
            raise RobauditError(
                f"{place}: is both {_flag(other)} and {_flag(name)}; give each a file of its own"
            )


def _file_of(place: str | Path) -> str | Path:
    """The file that a factory is in, or what else a text names."""
    file, colon, _ = str(place).rpartition(":")
    return file if colon and file.endswith(".py") else place


def _flag(name: str) -> str:
    return (
        f"the {name}"
        if name in {"input", "model", "evidence file", "policy"}
        else f"--{name.replace('_', '-')}"
    )


def _resolved(place: str | Path) -> str:
    """Where it leads; what cannot be a path, or is a link without an end, leads to itself."""
    try:
        return str(Path(place).resolve())
    except (OSError, ValueError, RuntimeError):
        return str(place)


def exists(path: str) -> bool:
    """Whether something lies there; what cannot be a path is nowhere."""
    try:
        return expanded(path).exists()
    except (OSError, ValueError, RuntimeError):
        return False
