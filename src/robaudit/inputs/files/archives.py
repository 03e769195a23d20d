"""Zip archives (PyTorch's, TorchScript's, .pt2's): honest sizes and plain names before anything is read."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from robaudit.errors import RobauditError

#: Weights hardly compress; an archive that grows more than this when read is a bomb.
GROWTH = 16
RECORDS = 200_000


def open_archive(path: Path) -> zipfile.ZipFile:
    """The archive, its central directory checked.

    Raises:
        RobauditError: damaged, or sizes or names that only an attack has.

    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, UnicodeDecodeError) as error:
        raise RobauditError(f"{path}: a damaged or cut-short archive; download it again") from error
    records = archive.infolist()
    size = path.stat().st_size
    stored = sum(record.compress_size for record in records)
    total = sum(record.file_size for record in records)
    if len(records) > RECORDS or stored > size or total > GROWTH * size + (1 << 20):
        archive.close()
        raise RobauditError(
            f"{path}: claims {total:,} bytes in {len(records)} records, the file has {size:,}; "
            "it is damaged or a zip bomb, get another copy"
        )
    for record in records:
        name = PurePosixPath(record.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in record.filename or record.flag_bits & 1:
            archive.close()
            raise RobauditError(
                f"{path}: record '{record.filename[:60]}' has no place in a checkpoint; get another copy"
            )
        if record.compress_type == zipfile.ZIP_STORED and record.file_size != record.compress_size:
            archive.close()
            raise RobauditError(
                f"{path}: record '{record.filename[:60]}' lies about its size; get another copy"
            )
    return archive


def archive_kind(archive: zipfile.ZipFile) -> str:
    """What the records say: `torchscript`, `pt2`, `pytorch`, `npz` or `zip`."""
    names = archive.namelist()
    lasts = {name.split("/", 1)[-1] for name in names}
    if "archive_format" in lasts or any(name.endswith("serialized_exported_program.json") for name in names):
        return "pt2"
    if "constants.pkl" in lasts or any(last.startswith("code/") for last in lasts):
        return "torchscript"
    if "data.pkl" in lasts or "data.pkl" in names:
        return "pytorch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "zip"


def read_record(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A record's bytes, at most `limit`.

    Raises:
        RobauditError: it is longer, or damaged.

    """
    record = archive.getinfo(name)
    if record.file_size > limit:
        raise RobauditError(
            f"{archive.filename}: record '{name[:60]}' has {record.file_size:,} bytes; get another copy"
        )
    try:
        with archive.open(record) as stream:
            return stream.read(limit + 1)
    except Exception as error:
        raise RobauditError(
            f"{archive.filename}: record '{name[:60]}' is damaged; download it again"
        ) from error
