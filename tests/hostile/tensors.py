"""Tensors that claim what is not there, and pickles that ask for time or memory."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import torch

from tests.hostile.assembling import (
    STOP,
    archive,
    call,
    entries,
    items,
    model,
    name,
    number,
    saved,
    storage,
    tensor,
    text,
    zipped,
)
from tests.hostile.harness import Case

_FLOAT = name("torch", "float32")
_HOOKS = call(name("collections", "OrderedDict"))
_STRANGE = {
    "stride 0": ((1 << 40, 64), (0, 0), 0), "stride 0, smaller": ((1 << 26, 64), (0, 0), 0),
    "beyond": ((1 << 20, 64), (64, 1), 0), "a negative stride": ((10, 10), (-1, 1), 0),
    "an offset beyond": ((10, 10), (10, 1), 1 << 40), "a negative offset": ((10, 10), (10, 1), -8),
    "a product that overflows": ((1 << 62, 4), (1, 1), 0), "sizes that overflow": ((1 << 63, 2), (1, 1), 0),
    "a negative size": ((-10, -10), (10, 1), 0), "many dimensions": ((1,) * 2000, (1,) * 2000, 0),
    "strides that overflow": ((2, 2), (1 << 63, 1), 0), "fewer strides": ((10, 10), (1,), 0),
    "the last one beyond": ((10, 10), (10, 1), 1), "no numbers, too long": ((0, 1 << 60), (1, 1), 0),
    "a number too large for a number": ((10**4000, 10), (1, 1), 0),
}  # fmt: skip


def shapes() -> list[Case]:
    """Every strange shape by every function that rebuilds tensors."""
    cases = []
    for what, (shape, stride, offset) in _STRANGE.items():
        for function, more in (
            ("_rebuild_tensor", ()),
            ("_rebuild_tensor_v2", ()),
            ("_rebuild_tensor_v3", (_FLOAT,)),
        ):
            kind, count = ("UntypedStorage", 400) if more else ("FloatStorage", 100)
            weight = tensor(shape, stride, offset, function=function, more=more, kind=kind, count=count)
            cases.append(Case(f"{what} by {function}", archive(model(weight))))
            wrapped = call(name("torch._utils", "_rebuild_parameter"), weight, b"\x88", _HOOKS)
            cases.append(Case(f"{what} by {function}, a parameter", archive(model(wrapped))))
    sizes = items(number(1 << 40), number(64))
    for function, arguments in {
        "_rebuild_meta_tensor_no_storage": (_FLOAT, sizes, items(number(64), number(1)), b"\x89"),
        "_rebuild_wrapper_subclass": (name("torch", "Tensor"), _FLOAT, sizes, items(number(64), number(1)), number(0)),
        "_rebuild_sparse_tensor": (name("torch", "sparse_coo"), items(tensor((2, 1), (1, 1)), tensor((1,), (1,)), sizes)),
        "_rebuild_sparse_csr_tensor": (name("torch", "sparse_csr"), items(tensor((2,), (1,)), tensor((1,), (1,)), sizes)),
        "_rebuild_nested_tensor": (tensor((10,), (1,)), sizes, sizes, sizes),
        "_rebuild_qtensor": (storage("0", 100, "QInt8Storage"), number(0), sizes, sizes, items(), b"\x89", b"}"),
        "_rebuild_device_tensor_from_numpy": (text("x"), _FLOAT, text("cpu"), b"\x89"),
        "_rebuild_xla_tensor": (text("x"), _FLOAT, text("cpu"), b"\x89"),
        "_rebuild_unheard_of": (sizes,),
    }.items():  # fmt: skip
        cases.append(Case(function, archive(model(call(name("torch._utils", function), *arguments)))))
        cases.append(
            Case(f"{function}, without arguments", archive(model(call(name("torch._utils", function)))))
        )
    return cases


def storages() -> list[Case]:
    """Storages that are not as PyTorch writes them."""
    good = ((10, 10), (10, 1))
    of_kinds = {
        "too many numbers": {"count": 10**30}, "a negative count": {"count": -1}, "one more": {"count": 101},
        "wider numbers": {"kind": "DoubleStorage"}, "an unknown kind": {"kind": "EvilStorage"},
        "a path as key": {"key": "../../../etc/passwd"}, "no such key": {"key": "7"}, "a long key": {"key": "9" * 10**6},
        "an empty key": {"key": ""}, "the pickle as storage": {"key": "../data.pkl"},
    }  # fmt: skip
    cases = [Case(what, archive(model(tensor(*good, **options)))) for what, options in of_kinds.items()]  # type: ignore[arg-type]
    for what, identifier in {
        "no tuple": text("storage"), "too few": items(text("storage")), "numbers": items(*map(number, range(5))),
        "a view": items(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(100),
                        items(text("v"), number(50), number(1 << 40))),
        "a float count": items(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), b"G" + struct.pack(">d", 1e300)),
        "true as count": items(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), b"\x88"),
        "a list": b"]", "a dict": b"}", "a number as key": items(text("storage"), name("torch", "FloatStorage"), number(0), text("cpu"), number(100)),
    }.items():  # fmt: skip
        weight = call(name("torch._utils", "_rebuild_tensor_v2"), identifier + b"Q", number(0),
                      items(number(10), number(10)), items(number(10), number(1)), b"\x89", _HOOKS)  # fmt: skip
        cases.append(Case(what, archive(model(weight))))
    big = archive(model(tensor(*good)))
    cases += [
        Case("two sizes of one", archive(model(tensor(*good), (text("x"), tensor((5,), (1,), count=50))))),
        Case("big-endian", big.replace(b"little", b"big\0\0\0")),
        Case("no storage", zipped([("a/data.pkl", model(tensor(*good))), ("a/version", b"3")])),
        Case("an empty storage", archive(model(tensor(*good)), b"")),
        Case("quantised", saved({"0.weight": torch.quantize_per_tensor(torch.randn(32, 64), 0.1, 0, torch.qint8)})),
        Case("sparse", saved({"0.weight": torch.randn(32, 64).to_sparse()})),
        Case("compressed sparse", saved({"0.weight": torch.randn(32, 64).to_sparse_csr()})),
        Case("on the meta device", saved({"0.weight": torch.empty(32, 64, device="meta")})),
        Case("complex", saved({"0.weight": torch.randn(32, 64, dtype=torch.complex64)})),
        Case("not finite", saved({"0.weight": torch.full((32, 64), torch.nan)})),
        Case("many views of one", saved(_views()), harmless=True),
        Case("a name with control characters", saved({"\x1b]0;x\x07\n::error::k.weight": torch.full((9, 9), torch.nan)})),
        Case("a long name", saved({"k" * 10**6: torch.full((9, 9), torch.nan)})),
        Case("eight-bit floats", saved({"0.weight": torch.randn(32, 64).to(torch.float8_e4m3fn)}), harmless=True),
        Case("object arrays", saved({"0.weight": torch.ones(10, 10), "x": np.array([{"a": 1}], dtype=object)}), harmless=True),
    ]  # fmt: skip
    return cases


def _views() -> dict[str, torch.Tensor]:
    numbers = torch.randn(4200)
    return {f"l{i}.weight": numbers.as_strided((64, 64), (1, 1), i % 10) for i in range(5000)}


def demands() -> list[Case]:
    """Pickles that ask for time, memory or depth."""

    def alone(code: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
        return zipped([("a/data.pkl", b"\x80\x02" + code + STOP), ("a/version", b"3\n")], method)

    deep: dict[str, object] = {}
    laughs: list[object] = []
    for _ in range(300):
        deep = {"a": deep}
    for _ in range(40):
        laughs = [laughs] * 50
    itself: dict[str, object] = {"0.weight": torch.ones(10, 10)}
    itself["self"] = itself
    good = tensor((10, 10), (10, 1))
    beside = {"a bytearray": ("bytearray", 1 << 42), "a range": ("range", 1 << 34), "a text": ("str", 1 << 40), "a list": ("list", 1 << 40)}  # fmt: skip
    return [
        Case("memo far away", alone(b"Nr" + struct.pack("<I", 0xFFFFFFF0))),
        Case("memo by text", alone(b"Np" + b"9" * 4000 + b"\n")),
        Case("a huge text", alone(b"\x8d" + struct.pack("<Q", 1 << 40))),
        Case("huge bytes", alone(b"\x8e" + struct.pack("<Q", (1 << 64) - 1))),
        Case("a frame beyond", b"\x80\x04\x95" + struct.pack("<Q", 1 << 60)),
        Case("a huge number", alone(b"\x8b" + struct.pack("<i", 0x7FFFFFFF) + b"1" * 10)),
        Case("a negative length", alone(b"\x8b" + struct.pack("<i", -5))),
        Case("a number of a million digits", alone(b"L" + b"9" * 1_000_000 + b"L\n")),
        Case("a million marks", alone(b"(" * 1_000_000)),
        Case("deep tuples", alone(b")" + b"\x85" * 100_000)),
        Case("deep tuples as a key", alone(b"})" + b"\x85" * 100_000 + b"Ns")),
        Case("doubling tuples as a key", alone(b"})" + b"2\x86" * 60 + b"Ns")),
        Case("deep lists", alone(b"]" * 200_000 + b"a" * 199_999)),
        Case("deep dicts", alone(b"}" + (text("a") + b"}") * 100_000 + b"s" * 100_000)),
        Case("deep dicts of long keys", alone(b"}" + (text("k" * 1000) + b"}") * 20_000 + b"s" * 20_000)),
        Case("deep calls", alone(name("__main__", "A") + (b")R" + name("__main__", "A") + b"0") * 100_000)),
        Case("nested objects", alone(b"N" + (b"0" + name("__main__", "A") + b")R") * 100_000)),
        Case("itself many times", alone(b"]q\x00" + b"h\x00a" * 600_000)),
        Case("two million opcodes", alone(b"N0" * 999_999 + b"}")),
        Case("more opcodes than are read", alone(b"N0" * 2_000_000 + b"}")),
        Case("a compressed pickle", alone(b"N0" * (30 << 20) + b"}", zipfile.ZIP_DEFLATED)),
        Case("colliding keys", alone(b"}(" + b"".join(number(k * ((1 << 61) - 1)) + b"N" for k in range(30_000)) + b"u")),
        Case("colliding floats", alone(b"}(" + b"".join(b"G" + struct.pack(">d", 2.0**k) + b"N" for k in range(1000)) + b"u")),
        Case("lists as keys", alone(b"}]Ns")),
        Case("nothing at all", alone(b"")),
        Case("only a stop", zipped([("a/data.pkl", b"."), ("a/version", b"3\n")])),
        Case("an empty record", zipped([("a/data.pkl", b""), ("a/version", b"3\n")])),
        Case("a deep tree beside", saved({"x": deep, "0.weight": torch.ones(10, 10)}), harmless=True),
        Case("a billion laughs", saved({"x": laughs, "0.weight": torch.ones(10, 10)}), harmless=True),
        Case("a tree that holds itself", saved(itself), harmless=True),
        Case("a number of numbers as a key", saved({1: torch.ones(3, 3), "0.weight": torch.ones(10, 10)}), harmless=True),
        *(Case(what, archive(model(good, (text("x"), call(name("builtins", kind), number(size))))), harmless=True)
          for what, (kind, size) in beside.items()),
        Case("many tensors", archive(b"\x80\x02" + entries(
            *((text(f"l{i}.weight"), tensor((255, 257), (0, 0))) for i in range(15_000))) + STOP), harmless=True),
        Case("many states", archive(b"\x80\x02" + good + b"q\x05" + b"0}(" + b"".join(
            text(f"s{i}") + b"}" + text("w") + b"h\x05s" for i in range(30_000)) + b"u" + STOP), harmless=True),
    ]  # fmt: skip
