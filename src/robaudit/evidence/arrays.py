"""Arrays out of a stranger's `.npz`: of types and sizes that are looked at before anything is made of them."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

#: Axes of one array.
_MOST_AXES = 4


def read_arrays(data: bytes, kinds: Mapping[str, str], limit: int) -> dict[str, np.ndarray[Any, Any]]:
    """Exactly the arrays that `kinds` names, each of its type, of at most `limit` bytes together.

    Args:
        data: the file.
        kinds: name: type, as numpy writes it.
        limit: bytes.

    Raises:
        ValueError: other arrays, types or sizes, or damaged ones.

    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [item.filename for item in archive.infolist()]
            if sorted(names) != sorted(f"{name}.npy" for name in kinds):
                raise ValueError(f"it does not hold {', '.join(kinds)}")
            found = {}
            for name, kind in kinds.items():
                with archive.open(f"{name}.npy") as file:
                    found[name] = _read(file, name, np.dtype(kind), limit)
                limit -= found[name].nbytes
            return found
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _read(file: IO[bytes], name: str, kind: np.dtype[Any], limit: int) -> np.ndarray[Any, Any]:
    version = npy.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"{name} is of another version of the format")
    shape, fortran, found = npy.read_array_header_1_0(file)
    if found.kind != kind.kind or fortran or len(shape) > _MOST_AXES:
        raise ValueError(f"{name} is not of type {kind}")
    count = math.prod(shape)
    size = count * found.itemsize
    if min(shape, default=0) < 0 or count * kind.itemsize > limit or size > limit:
        raise ValueError(f"{name} is too large")
    data = file.read(size + 1)
    if len(data) != size:
        raise ValueError(f"{name} has the wrong length")
    return np.frombuffer(data, found).reshape(shape).astype(kind)
