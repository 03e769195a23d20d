"""Plain data in a pickle that is neither PyTorch's nor the format's own: containers, numpy's arrays and numbers."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from robaudit.inputs.files.pickles import Builders, Inert, UnsafePickle

#: Types of numpy's numbers, by their short name; texts, records, dates and objects are not among them.
_PLAIN = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248]|c8|c16)")


class ArrayType(Inert):
    """numpy's description of a type: one of numbers of a fixed size, or nothing that is read."""

    def __init__(self, text: Any) -> None:
        super().__init__("numpy.dtype")
        self.text = text if isinstance(text, str) and _PLAIN.fullmatch(text) else ""

    def dtype(self) -> np.dtype[Any]:
        """Numpy's own.

        Raises:
            UnsafePickle: it is not a plain number's.

        """
        state = self.state  # (version, byte order, record's parts ...)
        parts = state[2:5] if isinstance(state, tuple) else ()
        if not self.text or any(part is not None for part in parts):
            raise UnsafePickle("an array in it holds something else than plain numbers")
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
        order = order.decode("latin-1") if isinstance(order, bytes) else order
        found = np.dtype(self.text)
        return found.newbyteorder(">") if order == ">" else found


class Array(Inert):
    """A numpy array as a pickle describes it; the array itself is made when it is asked for."""

    def __init__(self) -> None:
        super().__init__("numpy.ndarray")

    def array(self) -> np.ndarray:
        """The array, of the raw bytes in the pickle.

        Raises:
            UnsafePickle: it is not one of plain numbers with exactly its bytes.

        """
        match self.state:
            case (_, tuple(shape), ArrayType() as kind, fortran, bytes(raw)):
                return as_array(raw, kind, shape, bool(fortran))
        raise UnsafePickle("an array in it is not as numpy writes them")


def as_array(raw: bytes | memoryview, kind: ArrayType, shape: tuple[Any, ...], fortran: bool) -> np.ndarray:
    """Numbers of a type in a shape.

    Raises:
        UnsafePickle: the bytes are not exactly these numbers'.

    """
    dtype = kind.dtype()
    sound = all(type(n) is int and 0 <= n < 1 << 48 for n in shape) and len(shape) <= 32
    if not sound or math.prod(shape) * dtype.itemsize != len(raw):
        raise UnsafePickle("an array in it claims another size than it has")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def _type(text: Any = None, *_: Any) -> ArrayType:
    return ArrayType(text.decode("latin-1") if isinstance(text, bytes) else text)


def _scalar(kind: Any = None, raw: Any = None, *_: Any) -> Any:
    """One number; texts and other objects stay unread."""
    raw = raw.encode("latin-1", "replace") if isinstance(raw, str) else raw
    if not isinstance(kind, ArrayType) or not isinstance(raw, bytes) or not kind.text:
        return Inert("numpy.scalar")
    return as_array(raw, kind, (), False).item()


def _encoded(text: Any = None, coding: Any = None, *_: Any) -> Any:
    """Bytes as old protocols write them."""
    if not isinstance(text, str) or coding not in ("latin1", "latin-1", b"latin1"):
        return Inert("_codecs.encode")
    return text.encode("latin-1", "replace")


def _dict(*parts: Any) -> Any:
    """An ordered dict, empty or of pairs."""
    pairs = parts[0] if parts and isinstance(parts[0], (list, tuple)) else ()
    found: dict[Any, Any] = {}
    for pair in pairs:
        if (
            not isinstance(pair, (list, tuple))
            or len(pair) != 2
            or not isinstance(pair[0], (str, int, bytes))
        ):
            raise UnsafePickle("a dict in it is not made of pairs")
        found[pair[0]] = pair[1]
    return found


def _counter(*parts: Any) -> Any:
    return parts[0] if parts and type(parts[0]) is dict else {}


def _list(*parts: Any) -> Any:
    return parts[0] if parts and type(parts[0]) is list else []


#: What becomes plain data, by name; every other name stays an `Inert`.
PLAIN: Builders = {
    "collections OrderedDict": _dict,
    "collections defaultdict": lambda *_: {},
    "collections Counter": _counter,
    "collections deque": _list,
    **{
        f"{module} {name}": _list
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset", "list")
    },
    "_codecs encode": _encoded,
    "numpy dtype": _type,
    **{f"numpy.{core}.multiarray _reconstruct": lambda *_: Array() for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray scalar": _scalar for core in ("core", "_core")},
}
