"""A landscape's `.npz` from a stranger: exactly its arrays, within bounds, or refused in one sentence."""

import io
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from robaudit.errors import RobauditError
from robaudit.evidence import Surface
from tests.hostile.printing import TEXT

N, A = 2, 5
ABOUT = {
    "schema": "robaudit-landscape/2", "model": {"path": "m.pt", "sha256": "ab"}, "data": {"name": "digits"},
    "threat": {"norm": "Linf", "eps": 0.1}, "seed": 0,
}  # fmt: skip


def arrays():
    return {
        "about": np.frombuffer(json.dumps(ABOUT).encode(), np.uint8), "offsets": np.linspace(-1, 1, A),
        "loss": np.ones((N, A, A)), "margin": np.ones((N, A, A)), "computed": np.ones((N, A, A), bool), "ids": np.arange(N),
        "labels": np.zeros(N, int), "predictions": np.zeros(N, int), "roughness": np.zeros(N),
        "falling": np.zeros(N), "nonlinearity": np.zeros(N),
        "has_gradient": np.ones(N, bool),
    }  # fmt: skip


def npy(array):
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def claimed(shape, kind="<f8", body=b"", version=1):
    """An array that says it has this shape and type."""
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", len(text))
        + text
        + body
    )


def archive(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return out.getvalue()


def cases():
    whole = {f"{name}.npy": npy(value) for name, value in arrays().items()}
    forged = [
        claimed((1 << 40,)), claimed((1 << 62, 4)), claimed((-1,)), claimed((2, -3)), claimed((0,)), claimed((2.5,)),
        claimed((), body=bytes(8)), claimed((2,), "|O", b"\x80\x04cos\nsystem\n"), claimed((2,), "<U9999999"),
        claimed((2,), "|V8"), claimed((2,), "<M8[s]"), claimed((2,), "<c16"), claimed((2,), body=bytes(15)),
        claimed((2,), body=bytes(17)),
        claimed((2,), version=2, body=bytes(16)), claimed((2,), version=9), b"", b"\x93NUMPY", bytes(100),
        claimed((1,) * 40, body=bytes(8)), npy(np.array([{}])), npy(np.full(2, np.inf)), npy(np.full(2, 1e300)),
        claimed("__import__('os').abort()"), claimed((2,), "[('a', '<f8')]"),
        claimed((5_000_000,), body=bytes(40_000_000)),
    ]  # fmt: skip
    for name, right in whole.items():
        for number, data in enumerate(forged):
            if number == len(forged) - 1 and name != "loss.npy":
                continue
            yield f"{name} {number}", archive((whole | {name: data}).items())
        yield f"{name} absent", archive((key, value) for key, value in whole.items() if key != name)
        yield f"{name} twice", archive([*whole.items(), (name, right)])
    yield "more", archive([*whole.items(), ("../../evil.npy", b"x")])
    yield "stored oddly", archive(whole.items(), zipfile.ZIP_LZMA)[:-40]
    for change in (
        {"schema": "robaudit-landscape/9"}, {"model": TEXT}, {"model": {}}, {"data": None},
        {"threat": {"norm": 1, "eps": "x"}},
    ):  # fmt: skip
        text = json.dumps(ABOUT | change).encode()
        yield str(change)[:20], archive((whole | {"about.npy": npy(np.frombuffer(text, np.uint8))}).items())
    for text in (b"[" * 100_000, b"\xff", b"[]", b"1" * 5000):
        yield str(text[:5]), archive((whole | {"about.npy": npy(np.frombuffer(text, np.uint8))}).items())
    yield "no zip", b"PK\x03\x04" + bytes(100)
    yield "empty", b""


def test_what_is_whole_is_read(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(archive({f"{name}.npy": npy(value) for name, value in arrays().items()}.items()))
    assert len(Surface.load(path)) == N


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_every_forged_array_is_refused_within_bounds(tmp_path):
    path = tmp_path / "a.npz"
    wrong, count = [], 0
    for name, data in cases():
        path.write_bytes(data)
        count += 1
        tracemalloc.start()
        try:
            Surface.load(path)
            wrong.append(f"{name}: is read")
        except RobauditError as error:
            wrong += (
                [] if str(error).startswith(str(path)) and "\n" not in str(error) else [f"{name}: {error}"]
            )
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        wrong += [f"{name}: {most >> 20} MB"] if most > 600 << 20 else []
    assert count > 250
    assert not wrong, "\n".join(wrong[:30])
