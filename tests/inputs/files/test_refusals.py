"""Mislabelled and malicious files: one clear error each, no code run, memory bounded."""

from __future__ import annotations

import argparse
import collections
import io
import json
import logging
import os
import pickle
import re
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path, PosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch

from robaudit.errors import RobauditError
from robaudit.inputs import inspect_checkpoint, load_classifier
from robaudit.inputs.files.checkpoints import read_checkpoint
from robaudit.inputs.files.copies import read_copy
from tests.inputs.files.hostile import CANARY, SEEDS, Evil, canary, check, saved, state

ATTACKS: dict[str, Any] = {
    "system": Evil(os.system, f"echo {CANARY}"),
    "setenv": Evil(os.putenv, CANARY, "1"),
    "eval": Evil(eval, f"__import__('os').environ.__setitem__('{CANARY}', '1')"),
    "exec": Evil(exec, f"import os; os.environ['{CANARY}'] = '1'"),
    "popen": Evil(subprocess.Popen, ["true"]),
    "getattr": Evil(getattr, "text", "upper"),
    "import": Evil(__import__, "antigravity"),
    "hub": Evil(torch.hub.load, "somebody/evil", "model"),
    "torch.load": Evil(torch.load, "/etc/passwd"),
    "open": Evil(open, "/tmp/robaudit-canary", "w"),
    "mine": Evil(canary, CANARY, "1"),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("attack", ATTACKS)
def test_code_in_a_pickle_is_never_run(tmp_path: Path, attack: str, legacy: bool) -> None:
    evil = ATTACKS[attack]
    for tree in (evil, {"state_dict": {"w": evil}}, [evil]):
        message = check(tmp_path / "a.pt", saved(tree, _use_new_zipfile_serialization=not legacy))
        assert message is not None
        assert "asks to run" in message or "never unpickled" in message or "holds no state dict" in message
    beside = saved({"state_dict": state(), "x": evil}, _use_new_zipfile_serialization=not legacy)
    message = check(tmp_path / "b.pt", beside)  # a name of one's own is inert data; all else is refused
    assert (message is None) == (attack == "mine")
    assert check(tmp_path / "c.pkl", pickle.dumps(evil)) is not None


@pytest.mark.parametrize("wrap", [torch.nn.Sequential, torch.nn.DataParallel])
def test_a_whole_pickled_module_is_refused_with_a_way_out(
    tmp_path: Path, wrap: Callable[[torch.nn.Module], torch.nn.Module]
) -> None:
    network = wrap(torch.nn.Linear(2, 2))
    for legacy in (False, True):
        for tree in (network, {"net": network, "epoch": 1}):
            message = check(tmp_path / "a.pt", saved(tree, _use_new_zipfile_serialization=not legacy))
            assert message and "never unpickled" in message and "state_dict()" in message


def rewritten(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(stream, "w") as target:
        for record in source.infolist():
            target.writestr(record.filename, change(record.filename, source.read(record)))
    return stream.getvalue()


def test_a_tensor_larger_than_its_bytes_is_refused(tmp_path: Path) -> None:
    tree = {"a": torch.zeros(3, 5), "b": torch.zeros(7)}
    data = saved(tree)
    for old, new in ((b"K\x03K\x05\x86", b"J\xff\xff\xff\x7fK\x05\x86"), (b"K\x0f", b"J\xff\xff\xff\x7f")):
        changed = rewritten(data, lambda n, d, o=old, w=new: d.replace(o, w) if n.endswith("data.pkl") else d)  # type: ignore[misc]
        message = check(tmp_path / "a.pt", changed)
        assert message and ("claims" in message or "larger than its storage" in message)


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("a/data/0", bytes(200 << 20))
    message = check(tmp_path / "a.pt", stream.getvalue())
    assert message and "zip bomb" in message


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", "a/../../x", "a\\..\\x"])
def test_paths_in_archives_are_refused(tmp_path: Path, name: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr(name, b"x")
    message = check(tmp_path / "a.pt", stream.getvalue())
    assert message and "no place in a checkpoint" in message


def test_a_tree_that_contains_itself_ends(tmp_path: Path) -> None:
    tree: dict[str, Any] = {"w": torch.ones(2, 2)}
    tree["self"] = tree
    check(tmp_path / "a.pt", saved(tree))
    doubling: list[Any] = []
    for _ in range(60):
        doubling = [doubling, doubling]
    check(tmp_path / "a.pt", saved({"x": doubling}))


def test_a_safetensors_header_that_lies(tmp_path: Path) -> None:
    for shape, offsets in (([1 << 40], [0, 4]), ([1], [0, 1 << 60]), ([-1], [0, 4])):
        header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
        message = check(tmp_path / "a.safetensors", struct.pack("<Q", len(header)) + header + bytes(4))
        assert message and "damaged" in message


FOREIGN = {
    "empty": b"",
    "html": b"<!DOCTYPE html><html>not found</html>",
    "html with space": b"\n\n  <html>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "gzip": b"\x1f\x8b\x08\x00rest",
    "json": b'{"a": 1}',
    "text": b"hello",
    "hdf5": b"\x89HDF\r\n\x1a\n",
    "png": b"\x89PNG\r\n",
    "zeros": bytes(1000),
    "pickle": pickle.dumps({"a": np.ones(3)}),
    "old pickle": pickle.dumps({"a": 1}, protocol=0),
    "tensor": saved(torch.ones(3, 3)),
    "numbers": saved({"epoch": 3}),
    "optimiser": saved({"optimizer": {"state": {0: {"exp_avg": torch.ones(3, 3)}}}}),
    "nan": saved({"w.weight": torch.full((10, 784), torch.nan)}),
    "text tensors": saved({"w.weight": torch.ones(10, 784, dtype=torch.complex64)}),
    "misfit": saved(
        {"a.weight": torch.ones(7, 5), "b.weight": torch.ones(4, 3, 3, 3), "c.weight": torch.ones(9)}
    ),
}


@pytest.mark.parametrize("ending", ["pt", "safetensors", "onnx", "pt2", "model"])
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files(tmp_path: Path, name: str, ending: str) -> None:
    assert check(tmp_path / f"a.{ending}", FOREIGN[name]) is not None
    with pytest.raises(RobauditError):
        inspect_checkpoint(str(tmp_path / "nothing.pt"))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path, tmp_path / "a" / "b.pt"):
        with pytest.raises(RobauditError) as caught:
            load_classifier(str(path))
        assert str(caught.value).startswith(str(path))


def test_memory_is_bounded(tmp_path: Path) -> None:
    """The attacks on memory, in a process that may not grow by more than a gigabyte."""
    bomb = b"\x80\x02" + b"r" + struct.pack("<I", 0xFFFFFFF0) + b"."
    huge = b"\x80\x02\x8e" + struct.pack("<Q", 1 << 40) + b"."
    files = []
    for i, pickled in enumerate(
        (
            bomb,
            huge,
            b"\x80\x02" + b"(" * 300_000 + b".",
            b"\x80\x02]" + b"]" * 200_000 + b"a" * 200_000 + b".",
        )
    ):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a/data.pkl", pickled)
        files.append(tmp_path / f"{i}.pt")
        files[-1].write_bytes(stream.getvalue())
    code = (
        "import sys, resource\nfrom robaudit.errors import RobauditError\n"
        "from robaudit.inputs.files.checkpoints import read_checkpoint\n"
        "from robaudit.inputs.files.copies import read_copy\nfrom pathlib import Path\n"
        "from robaudit.inputs.files.state_dicts import choose_states\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for name in sys.argv[1:]:\n    try:\n"
        "        choose_states(read_checkpoint(read_copy(Path(name))).tree, name, None); sys.exit(3)\n"
        "    except RobauditError: pass\n"
        "sys.exit(0 if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20 else 4)\n"
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    done = subprocess.run([sys.executable, "-c", code, *map(str, files)], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_reading_does_not_change_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(SEEDS["zip"])
    read_checkpoint(read_copy(path))
    assert path.read_bytes() == SEEDS["zip"]


def test_tensors_without_numbers_are_no_layers(tmp_path: Path) -> None:
    state = {
        "a.weight": torch.zeros(8, 0, 3, 3),
        "b.weight": torch.zeros(4, 8, 3, 3),
        "c.weight": torch.zeros(10, 4),
    }
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(RobauditError):
        load_classifier(str(tmp_path / "a.pt"), shape=(3, 32, 32))


def test_what_people_keep_beside_their_weights_is_taken(tmp_path: Path) -> None:
    """Plain objects of every protocol and both formats; of what is not plain data, no more than that it is there."""
    extra = {
        "default": collections.defaultdict(list, a=[1]), "deque": collections.deque([1, 2], maxlen=5),
        "sets": [{1, 2}, frozenset({3})], "path": Path("/x"), "pure": PureWindowsPath("C:\\x"),
        "number": np.float64(0.5),
        "array": np.arange(3.0), "state": np.random.default_rng(0).bit_generator.state,
        "args": argparse.Namespace(lr=0.1),
        "loss": torch.nn.CrossEntropyLoss(), "function": torch.nn.functional.cross_entropy, "kind": np.dtype("float32"),
    }  # fmt: skip
    for protocol in (2, 3, 4, 5):
        for legacy in (False, True):
            data = saved(
                {"state_dict": state(), "extra": extra},
                pickle_protocol=protocol,
                _use_new_zipfile_serialization=not legacy,
            )
            assert check(tmp_path / "a.pt", data) is None
    tree = read_checkpoint(read_copy(tmp_path / "a.pt")).tree
    assert tree["extra"]["number"] == 0.5 and tree["extra"]["deque"] == [1, 2]
    assert all(torch.equal(tree["state_dict"][name], tensor) for name, tensor in state().items())
    newer = rewritten(
        saved({"state_dict": state(), "path": PosixPath("/x")}),
        lambda n, d: d.replace(b"cpathlib\n", b"cpathlib._local\n") if n.endswith("data.pkl") else d,
    )
    assert check(tmp_path / "a.pt", newer) is None


@pytest.mark.filterwarnings("ignore")
def test_tensors_of_other_kinds_are_named(tmp_path: Path) -> None:
    weight = torch.randn(10, 784)
    for kind, strange in {
        "quantised": torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "sparse": weight.to_sparse(),
        "without numbers": weight.to("meta"),
    }.items():  # fmt: skip
        for tree in (
            {"fc.weight": strange},
            {"conv.weight": torch.ones(4, 1, 3, 3), "fc": ({"w": strange}, 1)},
        ):
            message = check(tmp_path / "a.pt", saved(tree))
            assert message and f"is {kind}" in message and "float weights" in message


@pytest.mark.parametrize(
    "beside",
    [
        logging.getLogger("train"),
        re.compile("a"),
        io.StringIO("log"),
        max,
        torch.nn.init.kaiming_normal_,
        np.less,
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_harmless_things_beside_the_weights_are_taken(tmp_path: Path, beside: object) -> None:
    assert check(tmp_path / "a.pt", saved({"state_dict": state(), "x": beside})) is None


def test_weights_that_are_whole_numbers_are_named(tmp_path: Path) -> None:
    torch.save(
        {"0.weight": torch.ones(4, 3, 3, 3, dtype=torch.int8), "0.bias": torch.ones(4)}, tmp_path / "a.pt"
    )
    with pytest.raises(RobauditError, match=r"0.weight holds whole numbers \(int8\), of a quantised network"):
        load_classifier(str(tmp_path / "a.pt"), shape=(3, 8, 8))


def test_float8_weights_are_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = {"0.weight": torch.randn(16, 192), "0.bias": torch.ones(16), "2.weight": torch.randn(10, 16)}
    small = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in weights.items()} | {
        "2.bias": torch.ones(10)
    }
    torch.save(small, tmp_path / "a.pt")
    network = load_classifier(str(tmp_path / "a.pt"), shape=(3, 8, 8)).network
    assert any(torch.equal(tensor, small["2.weight"].float()) for tensor in network.state_dict().values())


def test_a_changed_byte_of_the_weights_is_damage_and_no_checksum_is_none(tmp_path: Path) -> None:
    state = {"0.weight": torch.rand(10, 64), "0.bias": torch.rand(10)}
    path = tmp_path / "a.pt"
    torch.save(state, path)
    data = bytearray(path.read_bytes())
    data[data.index(state["0.weight"].numpy().tobytes()) + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(RobauditError, match=r"a\.pt: record 'a/data/0' is damaged; download it again"):
        load_classifier(str(path), shape=(1, 8, 8))
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_classifier(str(path), shape=(1, 8, 8))


@pytest.mark.parametrize("names", [("last", "best"), ("teacher", "student"), ("model_best", "model_last")])
def test_two_networks_of_the_same_shapes_are_refused_until_one_is_named(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    first, second = ({"0.weight": torch.rand(10, 64), "0.bias": torch.rand(10)} for _ in range(2))
    path = str(tmp_path / "a.pt")
    torch.save(dict(zip(names, (first, second), strict=True)), path)
    with pytest.raises(
        RobauditError, match=f"2 networks of the same shapes .*{names[1]}.*; --key chooses one"
    ):
        load_classifier(path, shape=(1, 8, 8))
    x = torch.rand(2, 1, 8, 8)
    found = load_classifier(path, shape=(1, 8, 8), key=names[1])
    assert torch.allclose(found(x), x.flatten(1) @ second["0.weight"].T + second["0.bias"], atol=1e-5)
    torch.save(dict.fromkeys(names, first), path)
    assert f"weights taken from {names[0]}" in load_classifier(path, shape=(1, 8, 8)).info.notes


def test_a_state_dict_of_numpys_arrays_is_taken(tmp_path: Path) -> None:
    state = {"0.weight": torch.rand(10, 64), "0.bias": torch.rand(10)}
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    x = torch.rand(2, 1, 8, 8)
    for name, data in (
        ("a.pt", saved({"model": arrays, "epoch": 3})),
        ("b.pt", saved({name: array.astype(">f8") for name, array in arrays.items()})),
    ):
        (tmp_path / name).write_bytes(data)
        found = load_classifier(str(tmp_path / name), shape=(1, 8, 8))
        assert torch.allclose(found(x), x.flatten(1) @ state["0.weight"].T + state["0.bias"], atol=1e-5)
    beside = saved(
        {"state": state, "curve": np.zeros((3, 4), np.float32)}
    )  # weights are tensors where there are some
    (tmp_path / "c.pt").write_bytes(beside)
    assert load_classifier(str(tmp_path / "c.pt"), shape=(1, 8, 8)).info.classes == 10
