"""Several small files in one, so that a folder keeps to its few."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

from robaudit.errors import RobauditError


def bundle(paths: Iterable[Path]) -> bytes:
    """An archive of the files at `paths`, by their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, path.name)
    return buffer.getvalue()


def unbundle(data: bytes | None, paths: Iterable[Path]) -> None:
    """Those of the files at `paths` that the archive has; others in it are left alone.

    Raises:
        RobauditError: it is not an archive.

    """
    if data is None:
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            there = set(archive.namelist())
            for path in paths:
                if path.name in there:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(path.name))
    except (zipfile.BadZipFile, OSError) as error:
        raise RobauditError(f"bundle: cannot be read ({error}); take the file again, or remove it") from error
