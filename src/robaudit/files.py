"""Writing a file at once or not at all, whatever lies at its place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_PARTIAL = re.compile(r"\.robaudit-[0-9a-f]{16}\.part")
#: Seconds without a change after which a partial file is nobody's.
_LEFT_SECONDS = 24 * 3600
#: Seconds that the reader of a pipe has to open it.
_READER_SECONDS = 3.0
#: Links in here lead to what is already open, as /dev/stdout does: they are written to, never replaced.
_OPEN_FILES = (Path("/dev"), Path("/proc"))


@contextmanager
def replacing(path: Path, *, new: bool = False) -> Iterator[Path]:
    """An empty file of its own to write to, which takes the place of `path` once the block ends well.

    With `new` it takes no place that is taken: whoever is first wins.

    The file lies beside `path` under a name that nothing had, so that no planted file or link is written to, and
    is readable as the umask says. A symbolic link at `path` is replaced, not followed, wherever it leads. A device, a
    pipe or what is open already (`/dev/full`, `/dev/stdout`) is never replaced: it is given what was written.

    Raises:
        FileExistsError: something is there, and `new` is asked for.
        OSError: the place cannot be written, or is a folder; an error in the block leaves `path` as it was.

    """
    if not new and _is_stream(path):
        import tempfile  # noqa: PLC0415  rarely needed, and slow to import

        with tempfile.TemporaryDirectory() as folder:
            partial = Path(folder) / path.name
            partial.touch()
            yield partial
            _send(partial, path)
        return
    clear_leftovers(path.parent)
    partial = _new_file(path.parent)
    try:
        mode = stat.S_IMODE(partial.stat().st_mode)
        yield partial
        partial.chmod(mode)  # some libraries put a private file of their own in its place
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if new:
            _link(partial, path)
        else:
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def opened(path: Path) -> Iterator[tuple[io.FileIO, int]]:
    """A plain file, opened once for reading, and its size in bytes.

    Args:
        path: a link is followed; a pipe, a device or a folder is refused instead of waited for.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a plain file.

    """
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    )
    with open(os.open(path, flags), "rb", buffering=0) as file:  # noqa: PTH123  a number, not a path
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a plain file")
        yield file, status.st_size


def read_file(path: Path, limit: int, first: int | None = None) -> bytes:
    """The content of a plain file, or the first bytes of it, read once.

    Args:
        path: as `opened` takes it.
        limit: bytes that it may have.
        first: bytes to read; all by default.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a plain file, or larger.

    """
    with opened(path) as (file, size):
        if size > limit:
            raise ValueError(f"{size:,} bytes, more than the {limit:,} that it may have")
        wanted = min(size, limit if first is None else first)
        with io.BufferedReader(file) as whole:
            return whole.read(wanted)


def file_digest(path: Path) -> str:
    """The sha256 of a plain file in hexadecimal; it is read in parts.

    Args:
        path: as `opened` takes it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a plain file.

    """
    with opened(path) as (file, _):
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path, limit: int) -> str:
    """The text of a plain file in UTF-8, without its byte-order mark.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a plain file, larger than `limit` bytes, or not UTF-8.

    """
    return read_file(path, limit).decode("utf-8-sig")


def write_bytes(path: Path, data: bytes) -> None:
    """Make `data` the content of `path`, at once or not at all, as `replacing` does.

    Raises:
        OSError: the place cannot be written.

    """
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Make `text` in UTF-8 the content of `path`, at once or not at all, as `replacing` does.

    Raises:
        OSError: the place cannot be written.

    """
    write_bytes(path, text.encode(errors="replace"))


def _link(partial: Path, path: Path) -> None:
    """Give `partial` the name `path`, unless something has it."""
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: a moment in which the file is there and empty
        os.close(os.open(path, _NEW, 0o666))
        partial.replace(path)


def _new_file(folder: Path) -> Path:
    """An empty file with a name that nothing had."""
    while True:
        partial = folder / f".robaudit-{os.urandom(8).hex()}.part"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(partial, _NEW, 0o666))
            return partial


def clear_leftovers(folder: Path, seconds: float = _LEFT_SECONDS) -> None:
    """Remove what processes that were killed in the middle of a write left here, `seconds` ago or more."""
    before = time.time() - seconds
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not _PARTIAL.fullmatch(entry.name):
                continue
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and status.st_mtime <= before:
                Path(entry.path).unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether what lies there is written to rather than replaced: a device, a pipe, an open file by its number.

    Raises:
        IsADirectoryError: it is a folder.

    """
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.is_symlink():
        return not stat.S_ISREG(kind)
    folder = path.parent.resolve()
    return folder == _OPEN_FILES[0] or folder.is_relative_to(_OPEN_FILES[1])


def _send(partial: Path, path: Path) -> None:
    """Append to what is there; nothing is created or cut short.

    Raises:
        OSError: it cannot be written; nobody reads the pipe that it is.

    """
    import shutil  # noqa: PLC0415  rarely needed

    target = _opened_to_append(path)
    with partial.open("rb") as source, open(target, "wb") as sink:  # noqa: PTH123  a number, not a path
        shutil.copyfileobj(source, sink)


def _opened_to_append(path: Path) -> int:
    """A device or a pipe, which somebody must be about to read: it may have been planted, and is not waited for."""
    deadline = time.monotonic() + _READER_SECONDS
    while True:
        try:
            target = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            if hasattr(os, "O_NONBLOCK"):
                os.set_blocking(target, True)
            return target
