"""What is written stays where it should, and what is read is bounded."""

import os
import time
from pathlib import Path

import pytest

from robaudit.cli import run
from robaudit.cli.auditing import expand
from robaudit.cli.policy import read_policies
from robaudit.errors import RobauditError
from robaudit.files import write_text
from tests.cli.helpers import assert_clear
from tests.hostile.specimen import make_evidence
from tests.shipped import DISTILLED

posix = pytest.mark.skipif(os.name != "posix", reason="devices and pipes as POSIX has them")


@pytest.fixture
def evidence(tmp_path):
    make_evidence(tmp_path / "a.evidence")
    return str(tmp_path / "a.evidence")


def test_two_outputs_are_two_files(tmp_path, evidence, capsys):
    (tmp_path / "robaudit.toml").write_text('dataset = "digits"\nmodels = ["*.pt"]\n')
    policy = ["--policy", str(tmp_path / "robaudit.toml")]
    one, same = str(tmp_path / "o.json"), str(tmp_path / "x" / ".." / "o.json")
    (tmp_path / "x").mkdir()
    before = Path(evidence).read_bytes()
    for command in (
        ["gate", *policy, "--json", one, "--sarif", same],
        ["gate", *policy, "--json", "-", "--markdown", "-"],
        ["gate", *policy, "--json", str(tmp_path / "robaudit.toml")],
        ["report", evidence, "--format", "html", "--out", evidence],
        ["compare", evidence, evidence, "--format", "json", "--out", evidence],
        ["check", str(DISTILLED), "--dataset", "digits", "--json", one, "--evidence", same],
        ["check", str(DISTILLED), "--dataset", "digits", "--json", str(DISTILLED)],
        ["inspect", str(DISTILLED), "--json", str(DISTILLED)],
    ):
        assert run(command) == 2, command
        assert "give each a file of its own" in capsys.readouterr().err
    assert Path(evidence).read_bytes() == before
    assert not (tmp_path / "o.json").exists()


@posix
def test_a_device_is_written_to_and_an_error_of_it_is_told(evidence, capsys):
    assert run(["report", evidence, "--format", "json", "--out", "/dev/null"]) == 0
    assert_clear(capsys, run(["report", evidence, "--format", "json", "--out", "/dev/full"]), "/dev/full")
    assert not Path("/dev/full").is_file()


def test_evidence_and_checkpoint_in_each_others_place(evidence, capsys):
    before = DISTILLED.read_bytes()
    assert run(["verify", str(DISTILLED), evidence]) == 2
    assert "it comes first: robaudit verify EVIDENCE MODEL" in capsys.readouterr().err
    assert run(["report", str(DISTILLED)]) == 2
    error = capsys.readouterr().err
    assert "not an evidence file" in error
    assert "delete" not in error
    assert DISTILLED.read_bytes() == before


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    (tmp_path / "robaudit.toml").write_bytes(b"\xef\xbb\xbf" + b'dataset = "digits"\n')
    assert read_policies(tmp_path / "robaudit.toml")[0].dataset == "digits"
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbf" + b"a.pt\r\nb.pt\r\n")
    assert expand([str(tmp_path / "l.txt")]) == ["a.pt", "b.pt"]


@posix
def test_policies_lists_and_grids_are_bounded_and_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "robaudit.toml")
    os.mkfifo(tmp_path / "l.txt")
    (tmp_path / "big.toml").write_bytes(b"#" * (20 << 20))
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    started = time.monotonic()
    for place in ("robaudit.toml", "big.toml", "deep.toml"):
        with pytest.raises(RobauditError, match="not TOML"):
            read_policies(tmp_path / place)[0]
        assert_clear(
            capsys, run(["sweep", str(tmp_path / place), "--out", str(tmp_path / "o")]), str(tmp_path / place)
        )
    for place in ("l.txt", "zero.txt"):
        with pytest.raises(RobauditError, match="cannot be read as a list"):
            expand([str(tmp_path / place)])
    assert time.monotonic() - started < 5


def test_what_a_killed_write_left_is_removed_in_time(tmp_path):
    old, fresh, other = (tmp_path / f".robaudit-{c * 16}.part" for c in "abz")
    for path in (old, fresh, other):
        path.write_text("half")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    write_text(tmp_path / "report.html", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([fresh.name, other.name, "report.html"])


def test_a_run_log_of_a_stranger_is_numbers(tmp_path, capsys):
    for line in (
        '{"epoch": "\\u001b[31m"}',
        "[1]",
        "{}",
        '{"epoch": 1}',
        "[" * 100_000,
        '{"epoch": 1e999, "healing": 0}',
    ):
        (tmp_path / "log.jsonl").write_text(line + "\n")
        assert_clear(capsys, run(["report", str(tmp_path)]), str(tmp_path))
    (tmp_path / "log.jsonl").write_text('{"epoch": 1}\n')
    assert_clear(
        capsys, run(["report", str(tmp_path), "--out", str(tmp_path / "x.html")]), str(tmp_path / "x.html")
    )
