"""Containers that lie: safetensors headers, what a header says of the network, archives, and odd opcodes."""

from __future__ import annotations

import json
import struct
import zipfile
from typing import Any

import numpy as np

from tests.hostile.assembling import (
    NUMBERS,
    STOP,
    archive,
    call,
    entries,
    items,
    model,
    name,
    number,
    records_of,
    storage,
    tensor,
    text,
    zipped,
)
from tests.hostile.harness import Case

_ENTRY = {"dtype": "F32", "shape": [10, 10], "data_offsets": [0, 400]}
_GOOD = tensor((10, 10), (10, 1))


def raw_safetensors(header: bytes, numbers: bytes = NUMBERS, size: int | None = None) -> bytes:
    """A file of a header as it stands."""
    return struct.pack("<Q", len(header) if size is None else size) + header + numbers


def safetensors(entries_: dict[str, Any], numbers: bytes = NUMBERS) -> bytes:
    """A file of a header's entries."""
    return raw_safetensors(json.dumps(entries_).encode(), numbers)


def safetensors_headers() -> list[Case]:
    """Headers whose sizes, places, types or JSON no writer writes."""
    good = json.dumps({"0.weight": _ENTRY}).encode()
    changed = {
        "an unknown type": {"dtype": "F4"}, "a type that is a list": {"dtype": ["F32"]}, "a type of objects": {"dtype": "O"},
        "true as a size": {"shape": [True, 100]}, "a size of a half": {"shape": [0.5, 200]}, "a text as shape": {"shape": "99"},
        "a shape in a shape": {"shape": [[10], [10]]}, "a negative size": {"shape": [-10, -10]},
        "sizes that overflow": {"shape": [1 << 32, 1 << 32, 100]}, "no shape": {"shape": None},
        "no numbers, too long": {"shape": [0, 1 << 59], "data_offsets": [0, 0]},
        "too many dimensions": {"shape": [1] * 3000 + [100]}, "one place": {"data_offsets": [0]},
        "three places": {"data_offsets": [0, 200, 400]}, "places from behind": {"data_offsets": [400, 0]},
        "half a place": {"data_offsets": [0.0, 400.0]}, "texts as places": {"data_offsets": ["0", "400"]},
        "a gap": {"data_offsets": [4, 404]}, "beyond the end": {"data_offsets": [0, 1 << 62], "shape": [1 << 60]},
    }  # fmt: skip
    cases = [
        Case(what, safetensors({"0.weight": _ENTRY | change}), "safetensors")
        for what, change in changed.items()
    ]
    two = {"a": _ENTRY, "b": _ENTRY}
    raw = {
        "two tensors in one place": json.dumps(two).encode(),
        "a name twice": b'{"a":' + json.dumps(_ENTRY).encode() + b',"a":' + json.dumps(_ENTRY).encode() + b"}",
        "a name twice, once escaped": b'{"a":' + json.dumps(_ENTRY).encode() + b',"\\u0061":' + json.dumps(_ENTRY).encode() + b"}",
        "another document behind": good + good, "a mark in front": b"\xef\xbb\xbf" + good, "not UTF-8": good.replace(b"0.w", b"\xff.w"),
        "a number without end": good.replace(b"400", b"4" * 6000), "not a number": good.replace(b"400", b"NaN"),
        "infinite": good.replace(b"400", b"1e999"), "deep": b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        "deep metadata": b'{"__metadata__":{"a":' * 1 + b"{" * 9000 + b"}" * 9000 + b"}}", "an entry that is a list": b'{"0.weight":[]}',
        "an entry that is null": b'{"0.weight":null}', "nothing": b"{}", "no object": b'{"a"',
    }  # fmt: skip
    cases += [Case(what, raw_safetensors(header), "safetensors") for what, header in raw.items()]
    cases += [
        Case("a header as long as the file", raw_safetensors(good, size=len(good) + 400), "safetensors"),
        Case("a header longer than memory", raw_safetensors(good, size=1 << 63), "safetensors"),
        Case("metadata that are a list", safetensors({"__metadata__": ["x"], "0.weight": _ENTRY}), "safetensors"),
        Case("metadata that are numbers", safetensors({"__metadata__": {"a": 1}, "0.weight": _ENTRY}), "safetensors", True),
        Case("many empty tensors", safetensors({f"{k}.weight": _ENTRY | {"shape": [0, 7], "data_offsets": [0, 0]} for k in range(60_000)}, b""), "safetensors", True),
        Case("many tiny tensors", safetensors({f"l{k:05}.weight": {"dtype": "U8", "shape": [1, 1], "data_offsets": [k, k + 1]} for k in range(60_000)}, bytes(60_000)), "safetensors", True),
        Case("names that command", safetensors({"\x1b]0;x\x07\n::error::x##[error]": _ENTRY}), "safetensors", True),
    ]  # fmt: skip
    return cases


#: What a header may say of the network in the file: none of it is followed further than building that network.
ARCHITECTURES = (
    "evil.py:build", "os:system", "timm:resnet18", "torchvision:resnet18", "robustbench:Standard", "hf:owner/name",
    "timm:hf-hub:owner/name", "timm:local-dir:/etc", "torchvision:fasterrcnn_resnet50_fpn", "torchvision:vit_h_14", "sequential:relu",
    "transformers:vit", "/etc/passwd", "residual:widths=1000000000", "residual:depths=1000000000", "residual:widths=" + "9" * 5000,
    "residual:widths=16,widths=16", "sequential:" + "conv9k1 " * 30_000, "sequential:conv999999999k99999 fcK", "sequential:fc-1",
    "sequential:conv16k3s0 fcK", "sequential:conv16k3p99999999 relu flatten fcK", "sequential:adapt99999 flatten fcK",
    "sequential:" + "(" * 9000, "resnet\x1b[31m\n::error::18", "vit:depth=100000000", "a" * 1_000_000, "", "resnet18:" * 50_000,
)  # fmt: skip
NORMALISATIONS = (
    "0/0", "nan/nan", "1e400/1", "0.5/1e-320", "evil.py:build", "0.5," * 100_000 + "0.5/1", "\x1b[31m/\n::error::", "imagenet\0",
)  # fmt: skip


def own_metadata() -> list[Case]:
    """Files that say of themselves what this package writes into its own."""

    def file(**said: Any) -> bytes:
        entry = {
            "architecture": "sequential:flatten fcK",
            "normalisation": "none",
            "input_shape": [1, 8, 8],
        } | said
        shape = {"dtype": "F32", "shape": [10, 64], "data_offsets": [0, 2560]}
        header = {"__metadata__": {"robaudit": json.dumps(entry)}, "0.weight": shape}
        return safetensors(header, bytes(2560))

    cases = [
        Case(f"architecture {n} {spec[:24]!r}", file(architecture=spec), "safetensors", True)
        for n, spec in enumerate(ARCHITECTURES)
    ]
    cases += [
        Case(f"normalisation {n}", file(normalisation=spec), "safetensors", True)
        for n, spec in enumerate(NORMALISATIONS)
    ]
    shapes = ([1, 4096, 4096], [4096, 4096, 4096], [0, 8, 8], [True, 8, 8], [1, 8], [1.0, 8, 8], None)
    cases += [Case(f"shape {shape}", file(input_shape=shape), "safetensors", True) for shape in shapes]
    return cases


def _zip_of(change: Any) -> bytes:
    return zipped(change(records_of(archive(model(_GOOD)))))


def archives() -> list[Case]:
    """Archives of which two readers may read two things, or one reader too much."""
    good = archive(model(_GOOD))
    fine = dict(records_of(good))["a/data.pkl"]
    end = good.rindex(b"PK\5\6")
    names = {
        "a zero in a name": "a/data/0\0.txt", "a link upwards": "a/../../data/1", "an absolute name": "/etc/data/1", "a drive": "C:/data/1",
        "backslashes": "a\\data\\1", "a name that is a dot": ".", "a folder that is a record": "a/data/", "blanks": "a/data/ 0",
        "a name of control characters": "a/\x1b[31m\n::error::x", "a long name": "a/" + "x" * 60_000, "letters from right to left": "a/\u202edata",
        "code": "a/code/__torch__.py", "a constants' pickle": "a/constants.pkl", "an exported program": "a/models/model.json",
        "an archive's format": "a/archive_format", "a second folder": "b/version", "another letter's case": "A/data.pkl",
    }  # fmt: skip
    cases = [
        Case(f"a record with {what}", _zip_of(lambda r, n=record: [*r, (n, b"x")]), "pt", True)
        for what, record in names.items()
    ]
    long_end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 9, 9, 9, 9)
    pointer = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    later = good[: end + 8] + struct.pack("<HH", 2, 2) + good[end + 12 :]
    bomb = zipped(
        [("a/data.pkl", fine), ("a/version", b"3"), ("a/data/0", bytes(400_000_000))], zipfile.ZIP_DEFLATED
    )
    cases += [
        Case("a longer end that differs", good[:end] + long_end + pointer + good[end:]),
        Case("an end that counts fewer", later),
        Case("an end on another disk", good[: end + 4] + b"\1\0\1\0" + good[end + 8 :]),
        Case("a place beyond the file", good.replace(b"PK\1\2", b"PK\1\2", 1)[: end + 16] + b"\xff\xff\xff\x7f" + good[end + 20 :]),
        Case("a bomb of numbers", bomb),
        Case("no records", zipped([])),
        Case("many records", zipped((f"a/data/{k}", b"") for k in range(60_000))),
        Case("only folders", zipped([("a/", b""), ("a/data/", b"")])),
        Case("a pickle that is an archive", zipped([("a/data.pkl", good), ("a/version", b"3")])),
        Case("in another byte order", zipped([*((n, d) for n, d in records_of(good) if n != "a/byteorder"), ("a/byteorder", b"big")])),
        Case("a byte order without end", zipped([*((n, d) for n, d in records_of(good) if n != "a/byteorder"), ("a/byteorder", b"little" * 9000)])),
        Case("an archive after a safetensors header", raw_safetensors(b'{"a":1}', good)),
        Case("a safetensors file in an archive's name", safetensors({"0.weight": _ENTRY}), "pt", True),
        Case("an archive in a safetensors file's name", good, "safetensors", True),
        Case("an archive in a program's name", good, "onnx", True),
    ]  # fmt: skip
    return cases


def opcodes() -> list[Case]:
    """Opcodes in orders and with operands that no pickler writes."""

    def alone(code: bytes) -> bytes:
        return archive(b"\x80\x04" + code + STOP)

    def beside(value: bytes) -> bytes:
        return archive(model(_GOOD, (text("x"), value)))

    hooks = call(name("collections", "OrderedDict"))
    odd = {
        "a shape that is a tensor": call(name("torch._utils", "_rebuild_tensor_v2"), storage("0", 100), number(0), _GOOD, _GOOD, b"\x89", hooks),
        "a shape that is a list": call(name("torch._utils", "_rebuild_tensor_v2"), storage("0", 100), number(0), b"]", b"]", b"\x89", hooks),
        "a storage that is a tensor": call(name("torch._utils", "_rebuild_tensor_v2"), _GOOD, number(0), items(number(1)), items(number(1)), b"\x89", hooks),
        "a parameter of a text": call(name("torch._utils", "_rebuild_parameter"), text("x"), b"\x88", hooks),
        "a tensor without arguments": call(name("torch._utils", "_rebuild_tensor_v2")),
        "a tensor with too many": call(name("torch._utils", "_rebuild_tensor_v2"), *[b"N"] * 300),
        "of a class by itself": call(name("torch._tensor", "_rebuild_from_type_v2"), name("torch._tensor", "_rebuild_from_type_v2"), name("torch", "Tensor"), items(), b"}"),
        "a size of a size": call(name("torch", "Size"), items(call(name("torch", "Size"), items(number(1))))),
    }  # fmt: skip
    cases = [Case(what, archive(model(value)), "pt", True) for what, value in odd.items()]
    values = {
        "an array of nothing, too long": call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), items(number(0)), b"C\1b")
        + items(number(1), items(number(1 << 47), number(0)), call(name("numpy", "dtype"), text("f8"), b"\x89", b"\x88"), b"\x89", b"C\0") + b"b",
        "a scalar of another width": call(name("numpy.core.multiarray", "scalar"), call(name("numpy", "dtype"), text("f8"), b"\x89", b"\x88"), b"C\3abc"),
        "a scalar of objects": call(name("numpy.core.multiarray", "scalar"), call(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88"), b"C\1x"),
        "an array's state twice": call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), items(number(0)), b"C\1b") + items() + b"b" + b"N" + b"b",
        "a huge whole number": b"\x8b" + struct.pack("<i", 200_000) + b"\x7f" * 200_000,
        "a text of lone surrogates": b"V\\ud800\\udfff\n", "a text that is not UTF-8": b"X" + struct.pack("<I", 3) + b"\xff\xfe\xfd",
        "floats that are none": b"G" + struct.pack(">d", np.nan), "a float in words": b"Fnan\n", "a number in words": b"I0x10\n",
        "a dict of pairs that are none": call(name("collections", "OrderedDict"), items(number(1), number(2))),
        "a factory of dicts": call(name("collections", "defaultdict"), name("os", "system")),
        "encoded in another alphabet": call(name("_codecs", "encode"), text("x"), text("rot13")),
        "a set's frozen items": b"(" + text("a") + b"\x91", "a byte array of what is not there": b"\x96" + struct.pack("<Q", 1 << 50),
        "a name from the middle of the memo": text("os") + b"\x94" + text("system") + b"\x94\x93" + items(text("x")) + b"R",
    }  # fmt: skip
    cases += [
        Case(f"beside the weights, {what}", beside(value), "pt", True) for what, value in values.items()
    ]
    codes = {
        "a protocol that will never be": b"\x80\xff}", "a mark and nothing": b"(", "two stops": b"N.N", "more popped than there is": b"0" * 9,
        "items into a tuple": b")" + text("a") + b"a", "pairs into a list": b"]" + text("a") + text("b") + b"s",
        "a list's items across a mark": b"](" + b"(" + text("a") + b"e", "a key without a value": b"}(" + text("a") + b"u",
        "the memo's last place": b"Nr\xff\xff\xff\xff}", "a place that is negative": b"Np-1\n}", "a place in words": b"Npabc\n}",
        "a name without a module": b"c\n\n", "a name with a dot in front": b"c.os\nsystem\n", "a state for a name": name("os", "system") + b"}b",
        "a class from a number": number(3) + b")R", "a class from a dict": b"})}\x92", "a frame in a frame": b"\x95" + bytes(8) + b"\x95" + bytes(8) + b"}",
    }  # fmt: skip
    cases += [Case(f"as the whole pickle, {what}", alone(code), "pt") for what, code in codes.items()]
    cases.append(Case("one tensor under a hundred thousand names", archive(b"\x80\x02" + _GOOD + b"q\5" + b"0" + entries(
        *((text(f"l{k}.weight"), b"h\5") for k in range(100_000))) + STOP), "pt", True))  # fmt: skip
    return cases
