"""A file read once: whatever happens to it afterwards, what was hashed is what is checked and loaded."""

from __future__ import annotations

import hashlib
import io
import mmap
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from robaudit.errors import RobauditError
from robaudit.files import opened
from robaudit.sandbox import available_memory

#: Bytes that a checkpoint may have.
LIMIT = 256 << 30
#: Larger copies lie in an unlinked temporary file where memory has not four times the room.
SMALL = 1 << 30
#: Such a file is held as plain bytes.
TINY = 1 << 20


class FileCopy:
    """The bytes of a file.

    Attributes:
        path: as it was named; for messages and endings only, nobody opens it again.
        data: the bytes. They are this process's own; tensors may be made of them without another copy.
        parts: the files that a network is spread over; `data` is empty then.
        beside: what lies beside the file and says what it is, by name (`inputs.files.model_folders`).

    """

    def __init__(
        self,
        path: Path,
        data: bytes | bytearray | mmap.mmap | memoryview,
        parts: tuple[FileCopy, ...] = (),
        beside: dict[str, bytes] | None = None,
    ) -> None:
        self.path = path
        self.data = memoryview(data)
        self.parts = parts
        self.beside = beside or {}

    def __len__(self) -> int:
        return len(self.data) + sum(map(len, self.parts))

    def __deepcopy__(self, _: object) -> FileCopy:
        return self  # nobody changes it

    @cached_property
    def sha256(self) -> str:
        """The digest of the bytes, or of the digests of the parts, in hexadecimal."""
        if self.parts:
            return hashlib.sha256("".join(part.sha256 for part in self.parts).encode()).hexdigest()
        return hashlib.sha256(self.data).hexdigest()

    def stream(self) -> BinaryIO:
        """The bytes as a file of its own to read and seek in."""
        return (
            io.BytesIO(self.data)
            if len(self.data) <= TINY
            else io.BufferedReader(_Stream(self.data), 1 << 16)
        )


class _Stream(io.RawIOBase):
    def __init__(self, data: memoryview) -> None:
        self._data, self._place = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._data)}[whence]
        if start + offset < 0:
            raise ValueError("before the beginning")
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._data[self._place : self._place + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)


def read_copy(path: Path, limit: int = LIMIT, what: str = "a checkpoint's file") -> FileCopy:
    """Open a file once and copy what it holds.

    Args:
        path: a link is followed.
        limit: bytes that it may have.
        what: what to pass instead, for the message.

    Raises:
        RobauditError: there is none, it cannot be read, is empty, no plain file or too large, or changes meanwhile.

    """
    try:
        with opened(path) as (source, size):
            if not size:
                raise RobauditError(f"{path}: is empty; download it again")
            if size > limit:
                raise RobauditError(
                    f"{path}: has {size:,} bytes, more than the {limit:,} that are read; pass a smaller file"
                )
            return FileCopy(path, _copied(source, size, path))
    except IsADirectoryError:
        raise RobauditError(f"{path}: is a folder; pass {what} inside it") from None
    except ValueError as error:  # a name with a zero in it is one too
        raise RobauditError(f"{path}: {error}; pass {what}") from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise RobauditError(f"{path}: {reason}; pass {what}") from error


def exists(path: Path) -> bool:
    """Whether something lies there; what cannot be a path is nowhere."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def file_sha256(path: Path) -> str:
    """The digest of a file's bytes, in hexadecimal.

    Raises:
        RobauditError: it cannot be read.

    """
    return read_copy(path).sha256


def _copied(source: io.FileIO, size: int, path: Path) -> mmap.mmap | bytes:
    """Exactly `size` bytes of an open file, in memory of their own.

    Raises:
        OSError: they cannot be read.
        RobauditError: there is no room, or there are fewer or more by now.

    """
    copy: mmap.mmap | bytes
    if size <= TINY:
        copy = source.read(size)
        done = len(copy)
    elif size <= SMALL or size <= available_memory() // 4:
        copy = mmap.mmap(-1, size, **_PRIVATE)
        done = 0
        with memoryview(copy) as view:
            while done < size and (got := source.readinto(view[done : done + (64 << 20)])):
                done += got
    else:
        if shutil.disk_usage(tempfile.gettempdir()).free < size + SMALL:
            raise RobauditError(f"{path}: has {size:,} bytes, too many for this machine's memory and disk")
        with tempfile.TemporaryFile() as target:
            shutil.copyfileobj(source, target, 64 << 20)
            target.flush()
            done = target.tell()
            copy = mmap.mmap(target.fileno(), min(done, size), **_COPY_ON_WRITE)
    if done != size or source.read(1):
        raise RobauditError(f"{path}: changes while it is read; wait until it is complete")
    return copy


_PRIVATE: dict[str, int] = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
)
_COPY_ON_WRITE: dict[str, int] = {"access": mmap.ACCESS_COPY}
