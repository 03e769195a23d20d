"""A child process does its job, or its end is one sentence; what it may not do, it cannot."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from robaudit.errors import RobauditError
from robaudit.sandbox import Limits, in_child, parse_bytes
from robaudit.sandbox.answers import read_answer
from robaudit.sandbox.confinement import landlock_version

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the child is Linux's")
landlock = pytest.mark.skipif(not landlock_version(), reason="the kernel has no Landlock")


def test_what_the_job_returns_comes_back() -> None:
    parts = {"text": "a\u00fc\n", "number": 3, "names": ["x"], "bytes": np.arange(12, dtype=np.uint8).reshape(3, 4),
             "none": np.zeros((0, 2), np.float32), "turned": np.arange(6.0).reshape(2, 3).T}  # fmt: skip
    found = in_child("a", lambda: parts)
    assert set(found) == set(parts)
    for name, value in parts.items():
        if isinstance(value, np.ndarray):
            assert found[name].dtype == value.dtype and np.array_equal(found[name], value)
        else:
            assert found[name] == value
    assert in_child("a", lambda: None) == {}


def test_what_it_changes_stays_there() -> None:
    before: list[int] = []
    in_child("a", lambda: before.append(1))
    assert before == ([] if sys.platform.startswith("linux") else [1])


def children() -> set[str]:
    """The numbers of this process's children."""
    lists = Path("/proc/self/task").glob("*/children")
    return {number for one in lists for number in one.read_text().split()}


def message(job: Callable[[], object], **limits: int) -> str:
    started, before = time.monotonic(), children()
    with pytest.raises(RobauditError) as caught:
        in_child("file.pt", job, Limits(**limits))  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.startswith("file.pt: ") and "\n" not in text and time.monotonic() - started < 30
    assert children() <= before, "nobody is left behind"
    return text


def _raise(error: Exception) -> None:
    raise error


def test_an_error_is_the_jobs_own() -> None:
    assert message(lambda: _raise(RobauditError("file.pt: is odd"))) == "file.pt: is odd"
    text = message(lambda: _raise(KeyError("x" * 1000)))
    assert "KeyError" in text and len(text) < 300


@linux
def test_every_end_is_a_sentence() -> None:
    assert "SIGSEGV" in message(lambda: ctypes.string_at(0))
    assert "SIGFPE" in message(lambda: os.kill(os.getpid(), signal.SIGFPE))
    assert "SIGABRT" in message(os.abort)
    assert "exit 3" in message(lambda: os._exit(3))
    assert "memory" in message(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert "longer than 1 seconds" in message(lambda: [None for _ in iter(int, 1)], seconds=1)


@linux
def test_memory_is_limited() -> None:
    memory = 300 << 20
    assert "--max-memory" in message(lambda: bytearray(1 << 30), memory=memory)
    assert "--max-memory" in message(lambda: torch.zeros(1 << 30), memory=memory)
    assert "--max-memory" in message(lambda: np.zeros(1 << 40), memory=memory)
    assert in_child("a", lambda: {"sum": float(torch.ones(1 << 20).sum())}, Limits(memory=memory)) == {
        "sum": 1 << 20
    }


@linux
def test_max_memory_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBAUDIT_MAX_MEMORY", "300M")
    assert "300 MiB" in message(lambda: bytearray(1 << 30))
    monkeypatch.setenv("ROBAUDIT_MAX_MEMORY", "much")
    with pytest.raises(RobauditError, match="--max-memory much"):
        in_child("a", lambda: None)


def test_sizes() -> None:
    assert parse_bytes("4G") == parse_bytes("4 GiB") == parse_bytes("4096m") == 4 << 30
    for text in ("", "G", "-4G", "1e9", "4X", "10", "0.0001K", "9" * 400):
        with pytest.raises(ValueError, match="size"):
            parse_bytes(text)


@linux
def test_files_cannot_be_written(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("as it was")
    open_before = (tmp_path / "open").open("w")

    def write(path: Path, mode: str) -> Callable[[], None]:
        def job() -> None:
            with path.open(mode) as file:
                file.write("x")

        return job

    for job in (write(tmp_path / "new", "w"), write(old, "w"), write(old, "a")):
        with pytest.raises(RobauditError):
            in_child("a", job)
    with pytest.raises(RobauditError):
        in_child("a", lambda: os.write(open_before.fileno(), b"x"))
    open_before.close()
    assert old.read_text() in ("as it was", "") if not landlock_version() else old.read_text() == "as it was"
    assert not (tmp_path / "open").read_text()


@linux
@landlock
def test_nothing_is_removed_made_executed_or_connected(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    jobs: list[Callable[[], object]] = [
        (tmp_path / "a").unlink, (tmp_path / "b").mkdir, lambda: (tmp_path / "a").rename(tmp_path / "c"),
        lambda: (tmp_path / "d").symlink_to("a"), lambda: os.mkfifo(tmp_path / "e"), (tmp_path / "f").touch,
        lambda: os.truncate(tmp_path / "a", 0), lambda: subprocess.run(["/bin/true"], check=True),
    ]  # fmt: skip
    if landlock_version() >= 4:
        jobs.append(lambda: socket.create_connection(("127.0.0.1", port)))
    for job in jobs:
        with pytest.raises(RobauditError, match=r"Permission denied|PermissionError"):
            in_child("a", job)  # type: ignore[arg-type]
    listening.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "x"


@linux
def test_nothing_is_printed_and_nothing_nested(capfd: pytest.CaptureFixture[str]) -> None:
    def job() -> dict[str, int]:
        print("to standard output")
        os.write(2, b"to standard error")
        return {"inner": in_child("b", lambda: {"pid": os.getpid()})["pid"], "pid": os.getpid()}

    found = in_child("a", job)
    assert found["inner"] == found["pid"] != os.getpid()
    assert capfd.readouterr() == ("", "")


@linux
def test_an_answer_of_another_kind_is_refused() -> None:
    def answered(data: bytes) -> Callable[[memoryview], int]:
        left = memoryview(data)

        def read(into: memoryview) -> int:
            nonlocal left
            part = left[: len(into)]
            into[: len(part)] = part
            left = left[len(part) :]
            return len(part)

        return read

    def header(text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text

    array = b'{"kind": "result", "text": "", "plain": {}, "arrays": [["a", "%s", [%s]]]}'
    for data in (
        b"\xff" * 8, header(b"no json"), header(b"[]"), header(b"{}"), header(array % (b"|O", b"1")),
        header(array % (b"<u8", b"9999999999999")), header(array % (b"<u8", b"-1")), header(array % (b"<U9", b"1")),
    ):  # fmt: skip
        with pytest.raises(RobauditError, match="do not trust"):
            read_answer(answered(data), 1 << 30)
    assert read_answer(answered(header(array % (b"<u8", b"4"))), 1 << 30)[0] == "nothing"


@linux
def test_a_child_costs_little() -> None:
    in_child("a", lambda: None)
    started = time.monotonic()
    for _ in range(5):
        in_child("a", lambda: None)
    assert time.monotonic() - started < 2.5


@landlock
def test_libraries_that_make_a_cache_folder_can_be_imported(tmp_path: Path) -> None:
    code = (
        "import torch\nfrom robaudit.sandbox import in_child\n"
        "def job():\n    import torchvision\n    return {'name': torchvision.__name__}\n"
        "print(in_child('a', job)['name'])"
    )
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "none")}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert found.stdout == "torchvision\n", found.stderr
    assert not (tmp_path / "none").exists()
