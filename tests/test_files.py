"""A file is written at once or not at all, and nothing else is written to, replaced or left behind."""

import os
import stat
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from robaudit.cli import run
from robaudit.errors import RobauditError
from robaudit.evidence import EvidenceFile
from robaudit.files import replacing, write_bytes, write_text
from robaudit.inputs import build_architecture, save_classifier

posix = pytest.mark.skipif(os.name != "posix", reason="devices and umasks as POSIX has them")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_content_is_replaced_and_nothing_is_left(tmp_path):
    target = tmp_path / "report.html"
    write_text(target, "first")
    write_text(target, "±second")
    assert target.read_bytes() == "±second".encode()
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    target = tmp_path / "report.html"
    write_text(target, "first")
    with pytest.raises(RuntimeError), replacing(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


@posix
def test_a_planted_link_is_replaced_not_followed(tmp_path):
    precious, target = tmp_path / "precious", tmp_path / "report.html"
    precious.write_text("mine")
    target.symlink_to(precious)
    write_text(target, "report")
    assert precious.read_text() == "mine"
    assert not target.is_symlink()
    assert target.read_text() == "report"
    os.mkfifo(tmp_path / "pipe")
    for place in ("/dev/full", str(tmp_path / "pipe")):  # /dev/stdout is a link too, but it lies in /dev
        (tmp_path / "device").symlink_to(place)
        write_text(tmp_path / "device", "report")
        assert (tmp_path / "device").read_text() == "report"
        (tmp_path / "device").unlink()
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    write_text(tmp_path / "dangling", "report")
    assert not (tmp_path / "new").exists()


@posix
def test_links_planted_under_every_name_of_before_are_not_written_through(tmp_path):
    precious, target = tmp_path / "precious", tmp_path / "report.html"
    precious.write_text("mine")
    for name in (
        ".report.html.part",
        "report.html.partial",
        "report.html.new",
        f".report.html.{os.getpid()}.part",
    ):
        (tmp_path / name).symlink_to(precious)
    write_text(target, "report")
    assert precious.read_text() == "mine"


@posix
def test_a_name_that_is_taken_is_left_alone(tmp_path, monkeypatch):
    names = iter([b"taken", b"free!"])
    monkeypatch.setattr("robaudit.files.os.urandom", lambda _: next(names))
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / f".robaudit-{b'taken'.hex()}.part").symlink_to(precious)
    write_text(tmp_path / "report.html", "report")
    assert precious.read_text() == "mine"
    assert (tmp_path / f".robaudit-{b'taken'.hex()}.part").is_symlink()
    assert (tmp_path / "report.html").read_text() == "report"


@posix
def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(pipe, "report")
        assert os.read(reader, 100) == b"report"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@posix
def test_a_device_stays_a_device(tmp_path):
    write_bytes(tmp_path.joinpath("/dev/null"), b"report")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116
    if os.path.exists("/dev/full"):  # noqa: PTH110
        with pytest.raises(OSError, match="No space left"):
            write_bytes(tmp_path.joinpath("/dev/full"), b"report")
        assert stat.S_ISCHR(os.stat("/dev/full").st_mode)  # noqa: PTH116


@posix
@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="no /dev/stdout")  # noqa: PTH110
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_by_name_is_written_to(name, tmp_path):
    """Through a pipe and into a file; what was printed before stays."""
    script = "import sys; sys.stdout.write('before '); sys.stdout.flush()\nfrom pathlib import Path\n"
    script += f"from robaudit.files import write_text; write_text(Path({name!r}), 'report')"
    piped = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert piped.stdout == "before report"
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", script], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before report"
    assert os.path.islink(name)  # noqa: PTH114


@posix
def test_the_mode_is_the_umasks(tmp_path, umask):
    write_text(tmp_path / "text", "report")
    assert mode(tmp_path / "text") == 0o666 & ~umask
    network = build_architecture("sequential:flatten fcK", classes=2, in_channels=1, image_size=2)
    save_classifier(
        network,
        tmp_path / "x.safetensors",
        architecture="sequential:flatten fcK",
        classes=2,
        input_shape=(1, 2, 2),
    )
    assert mode(tmp_path / "x.safetensors") == 0o666 & ~umask
    assert load_file(tmp_path / "x.safetensors")


@pytest.mark.parametrize("place", ["missing/report", "folder"])
def test_a_place_that_cannot_be_written_is_an_oserror(place, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_text(tmp_path / place, "report")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


@posix
def test_an_evidence_file_is_no_device(audited):
    """It must be read again; and to make it must not replace the device."""
    with EvidenceFile.open(audited / "masked.evidence") as file:
        header = file.header()
    with pytest.raises(RobauditError, match="/dev/null: is a device"):
        EvidenceFile.create(audited.joinpath("/dev/null"), header)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


@posix
def test_a_report_goes_to_standard_output_by_name(audited, capfd):
    code = run(["report", str(audited / "masked.evidence"), "--format", "json", "--out", "/dev/stdout"])
    assert code == 0, capfd.readouterr().err
    assert '"schema": "robaudit/1"' in capfd.readouterr().out


@posix
def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("robaudit.files._READER_SECONDS", 0.05)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        write_text(tmp_path / "pipe", "report")
    with (tmp_path / "read").open("wb") as read:
        reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=read)
        monkeypatch.setattr("robaudit.files._READER_SECONDS", 20)
        write_text(tmp_path / "pipe", "report" * 50_000)
        assert reader.wait(20) == 0
    assert (tmp_path / "read").read_bytes() == b"report" * 50_000
