"""What a child process may answer: texts, numbers and arrays of numbers; nothing that could act when it is read."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from robaudit.errors import RobauditError

if TYPE_CHECKING:
    import numpy as np

#: By name: plain values as JSON has them, and arrays of numbers.
Parts = Mapping[str, Any]
RESULT, REFUSED, MEMORY, FAILED, NOTHING = "result", "refused", "memory", "failed", "nothing"
#: Bytes of the plain values and texts.
_HEADER = 64 << 20
_LENGTH = struct.Struct("<Q")
_DTYPE = re.compile(r"[|<](b1|u1|i[1248]|u[248]|f[248])")


def pack(kind: str, text: str, parts: Parts) -> list[Any]:
    """An answer as buffers to be written one after the other."""
    import numpy as np  # noqa: PLC0415  the command line starts without it

    arrays = {
        name: np.ascontiguousarray(value) for name, value in parts.items() if isinstance(value, np.ndarray)
    }
    header = {
        "kind": kind,
        "text": text[:20_000],
        "plain": {name: value for name, value in parts.items() if name not in arrays},
        "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
    }
    encoded = json.dumps(header).encode()
    return [
        _LENGTH.pack(len(encoded)),
        encoded,
        *(array.reshape(-1).view(np.uint8) for array in arrays.values()),
    ]


def read_answer(read: Callable[[memoryview], int], limit: int) -> tuple[str, str, dict[str, Any]]:
    """The kind of an answer, its text and its parts; of kind `NOTHING` where it is cut short.

    Args:
        read: fills a buffer with what has come, and says how much; 0 at the end.
        limit: bytes of all arrays.

    Raises:
        RobauditError: it is not as `pack` writes it: the child is no longer ours.

    """
    import numpy as np  # noqa: PLC0415  as above

    try:
        (length,) = _LENGTH.unpack(_exactly(read, np.empty(_LENGTH.size, np.uint8)))
        if length > _HEADER:
            raise ValueError("too long")
        header = json.loads(bytes(_exactly(read, np.empty(length, np.uint8))))
        parts = dict(header["plain"])
        for name, dtype, shape in header["arrays"]:
            size = math.prod(shape) * int(dtype[2:])
            if not _DTYPE.fullmatch(dtype) or min(shape, default=0) < 0 or not 0 <= size <= limit:
                raise ValueError("no array of numbers")
            limit -= size
            array = np.empty(shape, np.dtype(dtype))
            _exactly(read, array.reshape(-1).view(np.uint8))
            parts[name] = array
        return str(header["kind"]), str(header["text"]), parts
    except EOFError:
        return NOTHING, "", {}
    except (ValueError, KeyError, TypeError) as error:
        raise RobauditError(
            f"the process that reads a file gave no answer ({error}); do not trust the file"
        ) from error


def _exactly(read: Callable[[memoryview], int], into: np.ndarray) -> memoryview:
    view = memoryview(into)  # type: ignore[arg-type]
    done = 0
    while done < len(view):
        got = read(view[done:])
        if not got:
            raise EOFError
        done += got
    return view
