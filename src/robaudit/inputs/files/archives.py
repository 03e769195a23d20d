"""Zip archives (PyTorch's, TorchScript's, .pt2's, numpy's): one meaning, honest sizes, plain names.

Programs that read an archive differently are how one file is scanned and another one loaded. So what two readers
could understand differently is refused: two records of a name, a local header that says another thing than the
directory, records that overlap, bytes before, between or after them.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from robaudit.errors import RobauditError
from robaudit.inputs.files.copies import FileCopy

#: Weights hardly compress; an archive that grows more than this when read is a bomb.
GROWTH = 16
RECORDS = 200_000
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_END = struct.Struct("<4sHHHHIIH")
#: The longer end that archives of more than 4 GiB need, and the pointer to it.
_LONG_END = 56 + 20
#: The bit that says that sizes and checksum follow the record.
_FOLLOWS = 8
#: What follows then, at most: a signature, the checksum, two long sizes.
_AFTER = 24
_UTF8 = 0x800
_LONG = 0xFFFFFFFF


class Archive:
    """A checked archive.

    Attributes:
        path: of its file, for messages.
        names: of its records, in the directory's order.

    """

    def __init__(self, copy: FileCopy, records: list[zipfile.ZipInfo], starts: dict[str, int]) -> None:
        self.path, self._data, self._starts = copy.path, copy.data, starts
        self._records = {record.filename: record for record in records}
        self.names = list(self._records)

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def size(self, name: str) -> int:
        """Bytes of a record, unpacked; -1 where there is none of that name."""
        record = self._records.get(name)
        return record.file_size if record else -1

    def read(self, name: str, limit: int) -> memoryview:
        """A record's bytes, at most `limit`; of a record that is not compressed, without copying them.

        Raises:
            RobauditError: it is missing, longer, or damaged.

        """
        record = self._records.get(name)
        if record is None:
            raise RobauditError(f"{self.path}: has no record '{name[:60]}'; download it again")
        if record.file_size > limit:
            raise RobauditError(
                f"{self.path}: record '{name[:60]}' has {record.file_size:,} bytes; get another copy"
            )
        start = self._starts[name]
        packed = self._data[start : start + record.compress_size]
        if record.compress_type == zipfile.ZIP_STORED:
            return packed
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(packed, record.file_size + 1)
        except zlib.error as error:
            raise RobauditError(f"{self.path}: record '{name[:60]}' is damaged; download it again") from error
        if len(data) != record.file_size or zlib.crc32(data) != record.CRC:
            raise RobauditError(f"{self.path}: record '{name[:60]}' declares a wrong size; get another copy")
        return memoryview(data)


def open_archive(copy: FileCopy, budget: int | None = None) -> Archive:
    """The archive in a file's bytes, checked.

    Args:
        copy: the file; for an archive inside another, `FileCopy(path, outer.read(name, limit))`.
        budget: bytes that all records together may have unpacked; by default `GROWTH` times the file's.

    Raises:
        RobauditError: damaged, or sizes, names or a structure that only an attack has.

    """
    path, size = copy.path, len(copy)
    try:
        with zipfile.ZipFile(copy.stream()) as archive:
            records, directory, comment = archive.infolist(), archive.start_dir, archive.comment
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, IndexError, struct.error) as error:
        raise RobauditError(f"{path}: a damaged or cut-short archive; download it again") from error
    stored = sum(record.compress_size for record in records)
    total = sum(record.file_size for record in records)
    if (
        len(records) > RECORDS
        or stored > size
        or total > (GROWTH * size + (1 << 20) if budget is None else budget)
    ):
        raise RobauditError(
            f"{path}: claims {total:,} bytes in {len(records)} records, the file has {size:,}; "
            "it is damaged or a zip bomb, get another copy"
        )
    if comment or not _ends_well(copy.data, len(records), directory):
        raise RobauditError(f"{path}: has two ends that differ, or bytes after its end; get another copy")
    for record in records:
        _check_record(record, path)
    if len({record.filename for record in records}) < len(records):
        raise RobauditError(
            f"{path}: has two records of one name, of which readers take either; get another copy"
        )
    starts = _check_places(copy, records, directory)
    for record in records:
        place = starts[record.filename]
        packed = copy.data[place : place + record.compress_size]
        # PyTorch writes a checksum of 0 where it was told to save itself the work.
        if record.compress_type == zipfile.ZIP_STORED and record.CRC and zlib.crc32(packed) != record.CRC:
            raise RobauditError(f"{path}: record '{record.filename[:60]}' is damaged; download it again")
    return Archive(copy, records, starts)


def _ends_well(data: memoryview, count: int, directory: int) -> bool:
    """Whether the record at an archive's very end says what was read by it, or by the longer one before it."""
    end = len(data) - _END.size
    magic, *disks, here, in_all, size, start, _ = _END.unpack_from(data, end)
    return (
        magic == b"PK\5\6"
        and not any(disks)
        and here in (count, 0xFFFF)
        and in_all == here
        and start in (directory, _LONG)
        and (size == _LONG or directory + size in (end, end - _LONG_END))
    )


def _check_record(record: zipfile.ZipInfo, path: Path) -> None:
    name = PurePosixPath(record.filename)
    if (
        name.is_absolute()
        or ".." in name.parts
        or "\\" in record.filename
        or record.filename != record.orig_filename
        or record.flag_bits & 1
        or record.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    ):
        raise RobauditError(
            f"{path}: record '{record.filename[:60]}' has no place in a checkpoint; get another copy"
        )
    if record.compress_type == zipfile.ZIP_STORED and record.file_size != record.compress_size:
        raise RobauditError(
            f"{path}: record '{record.filename[:60]}' declares a wrong size; get another copy"
        )


def _check_places(copy: FileCopy, records: list[zipfile.ZipInfo], directory: int) -> dict[str, int]:
    """Where each record's bytes begin; its own header must say what the directory says.

    Raises:
        RobauditError: it does not, or records overlap or leave room between them.

    """
    starts: dict[str, int] = {}
    reached, spare = 0, 0  # where the last record ends, and how much may follow it
    for record in sorted(records, key=lambda record: record.header_offset):
        if not reached <= record.header_offset <= reached + spare:
            raise RobauditError(
                f"{copy.path}: record '{record.filename[:60]}' does not follow the one before; get another copy"
            )
        start = _data_start(copy.data, record)
        if start is None:
            raise RobauditError(
                f"{copy.path}: record '{record.filename[:60]}' has two headers that differ; get another copy"
            )
        starts[record.filename] = start
        reached, spare = start + record.compress_size, _AFTER if record.flag_bits & _FOLLOWS else 0
    if not reached <= directory <= reached + spare:
        raise RobauditError(f"{copy.path}: has bytes between its records and its directory; get another copy")
    return starts


def _data_start(data: memoryview, record: zipfile.ZipInfo) -> int | None:
    """Where a record's bytes begin; None where its own header differs from the directory's."""
    place = record.header_offset
    if place + _LOCAL.size > len(data):
        return None
    magic, _, flags, method, _, _, crc, packed, unpacked, name, extra = _LOCAL.unpack_from(data, place)
    text = bytes(data[place + _LOCAL.size : place + _LOCAL.size + name])
    more = bytes(data[place + _LOCAL.size + name : place + _LOCAL.size + name + extra])
    start = place + _LOCAL.size + name + extra
    own = record.orig_filename.encode("utf-8" if record.flag_bits & _UTF8 else "cp437", "replace")
    sizes = _long_sizes(more, unpacked, packed)
    central = (record.file_size, record.compress_size)
    same = (sizes == central and crc == record.CRC) or (
        bool(flags & _FOLLOWS) and sizes in ((0, 0), central) and crc in (0, record.CRC)
    )
    if magic != b"PK\3\4" or flags != record.flag_bits or method != record.compress_type or text != own:
        return None
    return start if same and start + record.compress_size <= len(data) else None


def _long_sizes(extra: bytes, unpacked: int, packed: int) -> tuple[int, int]:
    """The two sizes of a local header; where they do not fit there, they stand in its extra field."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            numbers = iter(
                struct.unpack_from(f"<{min(length, len(extra) - place - 4) // 8}Q", extra, place + 4)
            )
            unpacked = next(numbers, -1) if unpacked == _LONG else unpacked
            packed = next(numbers, -1) if packed == _LONG else packed
            break
        place += 4 + length
    return unpacked, packed
