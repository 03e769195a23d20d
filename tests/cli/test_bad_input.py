"""Wrong input: exit 2 and one or two lines that begin with the offending thing."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from robaudit.cli import run
from tests.cli.helpers import assert_clear, check
from tests.shipped import ADVERSARIAL


def bad_files(folder):
    """Name and content of files that are not a checkpoint."""
    good = ADVERSARIAL.read_bytes()
    torch.save({"weight": torch.full((10, 64), float("nan"))}, folder / "nan.pt")
    torch.save({"conv.weight": torch.zeros(7, 1, 3, 3), "odd": torch.zeros(3)}, folder / "odd.pt")
    torch.save(torch.nn.Linear(2, 2), folder / "module.pt")
    (folder / "empty.pt").write_bytes(b"")
    (folder / "short.safetensors").write_bytes(good[: len(good) // 2])
    (folder / "page.pt").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (folder / "text.pth").write_text("hello")
    return [
        "nan.pt",
        "odd.pt",
        "module.pt",
        "empty.pt",
        "short.safetensors",
        "page.pt",
        "text.pth",
        "missing.pt",
        ".",
    ]


def test_bad_checkpoints(tmp_path, capsys):
    for name in bad_files(tmp_path):
        code = check(tmp_path / name, "--dataset", "digits")
        assert_clear(capsys, code, str(tmp_path / name).rstrip("/."))


def test_a_missing_file_is_named_before_torch_is_imported(tmp_path):
    code = (
        "import sys; from robaudit.cli import run; "
        f"print(run(['check', '{tmp_path}/none.pt', '--dataset', 'digits']), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert done.stderr.startswith(f"{tmp_path}/none.pt: no such file")


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["--eps", "8"], "eps 8 must be in (0, 1]"),
        (["--eps", "a/b"], "--eps 'a/b' is not a number"),
        (["--norm", "L3"], "norm 'L3'"),
        (["--attacks", "pgd10,nothing"], "attack 'nothing'"),
        (["--limit", "0"], "limit 0"),
        (["--confidence", "99"], "confidence 99"),
        (["--examples", "most"], "examples 'most'"),
        (["--arch", "nosuchnet"], ""),
        (["--normalise", "sometimes"], ""),
        (["--device", "abacus"], "device 'abacus'"),
        (["--split", "evaluation"], "split 'evaluation'"),
        (["--engine", "other"], "engine 'other'"),
    ],
)
def test_bad_options(arguments, start, capsys):
    assert_clear(capsys, check(ADVERSARIAL, "--dataset", "digits", *arguments), start)


def test_bad_data(tmp_path, capsys):
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "keys.npz", pictures=np.zeros((3, 8, 8), np.uint8))
    np.savez(tmp_path / "range.npz", images=np.full((20, 1, 8, 8), 7.0), labels=np.arange(20) % 10)
    np.savez(tmp_path / "shape.npz", images=np.zeros((20, 9), np.uint8), labels=np.arange(20) % 10)
    np.savez(tmp_path / "labels.npz", images=np.zeros((20, 8, 8), np.uint8), labels=np.arange(19))
    np.savez(tmp_path / "three.npz", images=np.zeros((20, 8, 8), np.uint8), labels=np.arange(20) % 3)
    (tmp_path / "folder").mkdir()
    for name in ("text.npz", "keys.npz", "range.npz", "shape.npz", "labels.npz", "folder", "none.npz"):
        code = check(ADVERSARIAL, "--dataset", tmp_path / name, "--eps", "0.1")
        assert_clear(capsys, code, str(tmp_path / name))
    assert_clear(capsys, check(ADVERSARIAL, "--dataset", tmp_path / "three.npz", "--eps", "0.1"), "")
    assert_clear(capsys, check(ADVERSARIAL, "--dataset", "cifar10", "--data-dir", tmp_path), "cifar10")
    assert_clear(capsys, check(ADVERSARIAL, "--dataset", "cifar-11"), "cifar-11")
    assert_clear(capsys, check(ADVERSARIAL, "--dataset", tmp_path / "three.npz"), str(tmp_path / "three.npz"))


def test_unwritable_outputs_are_refused_before_any_work(tmp_path, capsys):
    for option in ("--json", "--evidence"):
        target = tmp_path / "no" / "such" / "file"
        assert_clear(capsys, check(ADVERSARIAL, "--dataset", "digits", option, target), str(target.parent))
        assert_clear(capsys, check(ADVERSARIAL, "--dataset", "digits", option, tmp_path), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_bad_evidence(tmp_path, capsys):
    (tmp_path / "text").write_text("no evidence" * 100)
    for name in ("text", "missing"):
        assert_clear(capsys, run(["verify", str(tmp_path / name), str(ADVERSARIAL)]), str(tmp_path / name))
        assert_clear(capsys, run(["report", str(tmp_path / name)]), str(tmp_path / name))
    assert_clear(
        capsys,
        check(ADVERSARIAL, "--dataset", "digits", "--evidence", tmp_path / "text"),
        str(tmp_path / "text"),
    )


def test_usage_errors_and_surprises_exit_2(capsys, monkeypatch):
    assert run(["check"]) == 2
    assert run(["nonsense"]) == 2
    assert run(["check", "a.pt", "--dataset", "digits", "--limit", "many"]) == 2
    capsys.readouterr()
    monkeypatch.setattr("robaudit.devices.pick_device", lambda name: 1 / 0)
    assert check(ADVERSARIAL, "--dataset", "digits") == 2
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "Traceback" not in error
    assert check(ADVERSARIAL, "--dataset", "digits", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_hostile_names_do_not_reach_the_terminal(tmp_path, capsys):
    target = tmp_path / "a\x1b[31mred\x07.safetensors"
    target.write_bytes(ADVERSARIAL.read_bytes())
    check(target, "--dataset", "digits", "--limit", 20, "--attacks", "pgd10", "--evidence", tmp_path / "e")
    captured = capsys.readouterr()
    assert "\x1b[31m" not in captured.out + captured.err
    assert "\x07" not in captured.out + captured.err


def test_a_factory_that_exits_is_no_verdict(tmp_path, capsys):
    (tmp_path / "net.py").write_text("import sys\ndef build():\n    sys.exit('needs a GPU')\n")
    assert check(ADVERSARIAL, "--dataset", "digits", "--arch", f"{tmp_path / 'net.py'}:build") == 2


def test_nobody_listening_is_no_verdict(tmp_path):
    command = f"{sys.executable} -m robaudit check {tmp_path}/none.pt --dataset digits 2>&-"
    assert subprocess.run(command, shell=True, check=False, stdout=subprocess.DEVNULL).returncode == 2


def test_a_misspelt_data_set_is_named_before_its_radius(capsys):
    code = check(ADVERSARIAL, "--dataset", "cifra10")
    assert_clear(capsys, code, "cifra10: no such data set, file or folder (did you mean cifar10?)")


def test_an_error_in_a_table_names_its_file_once():
    from robaudit.cli.auditing import Checked
    from robaudit.cli.several import _line

    assert (
        _line(Checked("a/b.pt", error="a/b.pt: is damaged; download it")) == "a/b.pt: is damaged; download it"
    )
    assert _line(Checked("a/b.pt", error="out of memory")) == "a/b.pt: out of memory"


def test_the_report_of_a_run_has_two_formats(tmp_path, capsys):
    code = run(["report", str(tmp_path), "--format", "junit", "--out", str(tmp_path / "x.xml")])
    assert (
        code == 2 and "'junit' is not made of a training run; use terminal or html" in capsys.readouterr().err
    )
