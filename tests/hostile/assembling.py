"""Writing pickles and archives by hand: opcode by opcode, record by record."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

STOP = b"."


def text(value: str) -> bytes:
    """BINUNICODE."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    """The shortest opcode for a whole number."""
    return pickle.dumps(value, 2)[2:-1]


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def stack_name(module: str, attribute: str) -> bytes:
    """STACK_GLOBAL."""
    return text(module) + text(attribute) + b"\x93"


def items(*parts: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(parts) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE."""
    return function + items(*arguments) + b"R"


def entries(*pairs: tuple[bytes, bytes]) -> bytes:
    """A dict."""
    return b"}(" + b"".join(key + value for key, value in pairs) + b"u"


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    """A persistent identifier."""
    return items(text("storage"), name("torch", kind), text(key), text("cpu"), number(count)) + b"Q"


def tensor(
    shape: Iterable[int], stride: Iterable[int], offset: int = 0, *, key: str = "0", count: int = 100,
    function: str = "_rebuild_tensor_v2", kind: str = "FloatStorage", more: tuple[bytes, ...] = (),
) -> bytes:  # fmt: skip
    """A call of a function that rebuilds tensors."""
    return call(
        name("torch._utils", function),
        storage(key, count, kind),
        number(offset),
        items(*map(number, shape)),
        items(*map(number, stride)),
        b"\x89",
        call(name("collections", "OrderedDict")),
        *more,
    )


def zipped(records: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive; names may stand twice."""
    import warnings

    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore")
        for record, data in records:
            archive.writestr(record, data)
    return stream.getvalue()


NUMBERS = np.ones(100, np.float32).tobytes()


def archive(pickled: bytes, numbers: bytes = NUMBERS, *more: tuple[str, bytes]) -> bytes:
    """A checkpoint of a hand-written pickle and one storage."""
    return zipped(
        [
            ("a/data.pkl", pickled),
            ("a/version", b"3\n"),
            ("a/byteorder", b"little"),
            ("a/data/0", numbers),
            *more,
        ]
    )


def model(weight: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A state dict of two layers, the first with the given weight, and what else is in it."""
    good = tensor((10, 10), (10, 1)), tensor((10,), (1,))
    return b"\x80\x02" + entries(
        (text("0.weight"), weight), (text("0.bias"), good[1]), (text("1.weight"), good[0]), (text("1.bias"), good[1]),
        *more,
    ) + STOP  # fmt: skip


def saved(tree: Any, **options: Any) -> bytes:
    """`torch.save`."""
    stream = io.BytesIO()
    torch.save(tree, stream, **options)
    return stream.getvalue()


def records_of(data: bytes) -> list[tuple[str, bytes]]:
    """The records of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        return [(info.filename, found.read(info)) for info in found.infolist()]
