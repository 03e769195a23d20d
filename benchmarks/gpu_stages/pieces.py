"""Files in numbered pieces, for places that take only small ones: `NAME` becomes `NAME.1of3` and so on.

A file that fits is left whole, under its own name. Each piece begins with the SHA-256 of the whole file, so that pieces
of two versions are never joined.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from robaudit.errors import RobauditError

#: Bytes of a file at most.
MOST_BYTES = 15_000_000
_DIGEST = hashlib.sha256().digest_size
_NAME = re.compile(r"(?P<name>.+)\.(?P<number>[1-9]\d?)of(?P<count>[1-9]\d?)")


def pieces_of(name: str, data: bytes, most: int = MOST_BYTES) -> dict[str, bytes]:
    """The files to write for `data`, by name: one, or as many pieces as it takes."""
    if len(data) <= most:
        return {name: data}
    digest, room = hashlib.sha256(data).digest(), most - _DIGEST
    count = -(-len(data) // room)
    return {f"{name}.{k + 1}of{count}": digest + data[k * room : (k + 1) * room] for k in range(count)}


def files_of(folder: Path, name: str) -> list[Path]:
    """The files in `folder` that hold `name`, whole or in pieces, in order."""
    whole = [folder / name] if (folder / name).is_file() else []
    matches = [(path, _NAME.fullmatch(path.name)) for path in folder.iterdir()]
    found = [(int(match["number"]), path) for path, match in matches if match and match["name"] == name]
    return whole + [path for _, path in sorted(found)]


def read(folder: Path, name: str) -> bytes | None:
    """What `pieces_of` made files of; None where there are none.

    Raises:
        RobauditError: a piece is missing, or of another version.

    """
    if (folder / name).is_file():
        return (folder / name).read_bytes()
    files = files_of(folder, name)
    if not files:
        return None
    count = files[0].name.rpartition("of")[2]
    wanted = [f"{name}.{k + 1}of{count}" for k in range(int(count))]
    missing = [piece for piece in wanted if not (folder / piece).is_file()]
    if missing:
        raise RobauditError(f"{folder / missing[0]}: is missing; put all {count} pieces of {name} there")
    parts = [(folder / piece).read_bytes() for piece in wanted]
    data = b"".join(part[_DIGEST:] for part in parts)
    if {part[:_DIGEST] for part in parts} != {hashlib.sha256(data).digest()}:
        raise RobauditError(
            f"{folder / name}: its pieces do not belong together; take all from the same call"
        )
    return data


def names_in(folder: Path) -> list[str]:
    """The names of the files in `folder` that lie there in pieces."""
    matches = [_NAME.fullmatch(path.name) for path in folder.iterdir() if path.is_file()]
    return sorted({match["name"] for match in matches if match})
