"""The command line as a user meets it: exit codes, JSON, clear errors, nothing half-written."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from robaudit.cli import run
from tests.shipped import ADVERSARIAL, DISTILLED

QUICK = ["--apgd-steps", "10", "--fab-steps", "5", "--square-queries", "200", "--targets", "2"]


def check(*arguments):
    return run(["check", *map(str, arguments)])


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """One audit whose files several tests look at."""
    folder = tmp_path_factory.mktemp("report")
    code = check(
        DISTILLED, "--dataset", "digits", "--limit", 100, *QUICK, "--evidence", folder / "a.evidence", "--json",
        folder / "a.json",
    )  # fmt: skip
    return code, folder


def test_an_overestimated_model_exits_1_with_the_contracts_json(report):
    code, folder = report
    data = json.loads((folder / "a.json").read_text())
    assert code == 1
    assert data["schema"] == "robaudit/1"
    assert data["verdict"]["outcome"] == "overestimated"
    assert data["verdict"]["causes"]
    assert set(data["verdict"]["causes"][0]) == {"code", "severity", "message", "advice"}
    for name in ("clean", "pgd10", "autoattack", "apgd-ce", "apgd-t", "fab-t", "square"):
        item = data["accuracy"][name]
        assert 0 <= item["low"] <= item["value"] <= item["high"] <= 1, name
    assert {"pgd10-square", "pgd10-autoattack"} == set(data["gap"])
    assert {"fosc", "fosc_normalised", "sgcs"} <= set(data["metrics"])
    assert {"path", "sha256", "architecture", "normalisation", "parameters", "classes"} <= set(data["model"])
    assert {"name", "split", "n", "sha256"} <= set(data["data"])
    assert data["threat"] == {"norm": "Linf", "eps": 0.1}
    assert {"forwards", "backwards", "seconds", "device"} <= set(data["cost"])
    assert {"robaudit", "torch", "python"} <= set(data["versions"])
    assert data["seed"] == 0


def test_verify_and_report_agree_without_data(report, capsys):
    _, folder = report
    assert run(["verify", str(folder / "a.evidence"), str(DISTILLED)]) == 1
    assert "witnesses hold" in capsys.readouterr().out
    assert run(["report", str(folder / "a.evidence"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((folder / "a.json").read_text())
    assert run(["report", str(folder / "a.evidence")]) == 0
    assert "OVERESTIMATED" in capsys.readouterr().out
    assert run(["verify", str(folder / "a.evidence"), str(ADVERSARIAL)]) == 2
    assert "not the model of this evidence" in capsys.readouterr().err


def test_json_on_standard_output_is_all_there_is(capsys):
    code = check(ADVERSARIAL, "--dataset", "digits", "--limit", 30, "--attacks", "pgd10", "--json", "-")
    assert code == 3, "one attack alone decides nothing"
    assert json.loads(capsys.readouterr().out)["verdict"]["outcome"] == "inconclusive"


def test_help_is_quick_and_imports_no_torch():
    started = time.perf_counter()
    code = (
        "import sys; from robaudit.cli import run; code = run(['--help']); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for command in ("check", "inspect", "verify", "report", "demo"):
        assert command in result.stdout
    assert time.perf_counter() - started < 5  # 0.5 s on an idle machine; see `make bench`


@pytest.mark.parametrize("command", ["check", "inspect", "verify", "report", "demo"])
def test_every_command_has_help(command, capsys):
    assert run([command, "--help"]) == 0
    assert "xample" in capsys.readouterr().out or command == "demo"


def bad_files(folder):
    """Name and content of files that are no checkpoint."""
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


def assert_clear(capsys, code, start):
    """Exit 2, one or two lines, beginning with the offending thing, no traceback."""
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) <= 2, captured.err
    assert "Traceback" not in captured.err
    assert "should not happen" not in captured.err
    assert lines[0].startswith(start), captured.err


def test_bad_checkpoints(tmp_path, capsys):
    for name in bad_files(tmp_path):
        code = check(tmp_path / name, "--dataset", "digits")
        assert_clear(capsys, code, str(tmp_path / name).rstrip("/."))


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["--eps", "8"], "eps 8 must be in (0, 1]"),
        (["--eps", "a/b"], "'a/b' is not a number"),
        (["--norm", "L1"], "norm 'L1'"),
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
    monkeypatch.setattr("robaudit.cli.check.pick_device", lambda name: 1 / 0)
    assert check(ADVERSARIAL, "--dataset", "digits") == 2
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "Traceback" not in error
    assert check(ADVERSARIAL, "--dataset", "digits", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_architecture_from_a_file(tmp_path, capsys):
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def build():\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )  # fmt: skip
    torch.manual_seed(0)
    from robaudit.inputs import load_images

    images = load_images("digits", split="train")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(model(images.float()), images.labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.save(model.state_dict(), tmp_path / "linear.pt")
    arch = f"{tmp_path / 'net.py'}:build"
    code = check(
        tmp_path / "linear.pt", "--dataset", "digits", "--arch", arch, "--limit", 60, *QUICK, "--eps", "0.05"
    )
    out = capsys.readouterr().out
    assert code in (0, 3), out
    assert re.search(r"net\.py:build", out)


def test_hostile_names_do_not_reach_the_terminal(tmp_path, capsys):
    target = tmp_path / "a\x1b[31mred\x07.safetensors"
    target.write_bytes(ADVERSARIAL.read_bytes())
    check(target, "--dataset", "digits", "--limit", 20, "--attacks", "pgd10", "--evidence", tmp_path / "e")
    captured = capsys.readouterr()
    assert "\x1b[31m" not in captured.out + captured.err
    assert "\x07" not in captured.out + captured.err


@pytest.mark.heavy
def test_the_demo_tells_the_two_apart(capsys):
    assert run(["demo"]) == 0
    assert "As expected" in capsys.readouterr().out


def test_a_refuted_claim_exits_1_and_a_met_one_does_not(tmp_path, capsys):
    common = [
        "--dataset",
        "digits",
        "--attacks",
        "pgd10",
        "--limit",
        "150",
        "--claim-attack",
        "pgd",
        "--json",
        "-",
    ]
    assert check(ADVERSARIAL, *common, "--evidence", tmp_path / "a", "--claim", "0.99") == 1
    assert json.loads(capsys.readouterr().out)["claim"]["outcome"] == "refuted"
    assert check(ADVERSARIAL, *common, "--evidence", tmp_path / "a", "--claim", "0.3") == 3, (
        "no verdict without Square"
    )
    assert json.loads(capsys.readouterr().out)["claim"]["outcome"] == "consistent"
    assert_clear(capsys, check(ADVERSARIAL, *common, "--claim", "53.29"), "claim 53.29 must be in [0, 1]")
    assert_clear(capsys, check(ADVERSARIAL, *common[:4], "--claim", "0.5"), "claim-attack 'autoattack' needs")


def test_many_checkpoints_get_one_table_and_a_bad_file_does_not_stop_the_rest(tmp_path, capsys):
    (tmp_path / "bad.pt").write_text("no checkpoint")
    (tmp_path / "list.txt").write_text(f"# two more\n{tmp_path / 'bad.pt'}\n\n{DISTILLED}\n")
    code = check(
        ADVERSARIAL, tmp_path / "list.txt", "--dataset", "digits", "--limit", 80, *QUICK, "--evidence", tmp_path,
        "--json", tmp_path / "all.json",
    )  # fmt: skip
    reports = json.loads((tmp_path / "all.json").read_text())["reports"]
    assert code == 1
    assert len(reports) == 3
    assert reports[1]["error"].startswith(str(tmp_path / "bad.pt"))
    assert reports[2]["verdict"]["outcome"] == "overestimated"
    assert "could not audit" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.evidence"))) == 2
    (tmp_path / "none.txt").write_text("# nothing\n")
    assert_clear(capsys, check(tmp_path / "none.txt", "--dataset", "digits"), str(tmp_path / "none.txt"))


def edited(report, tmp_path, statement, *values):
    """A copy of the evidence with one statement run on it."""
    import shutil
    import sqlite3

    path = tmp_path / "edited.evidence"
    shutil.copy(report[1] / "a.evidence", path)
    with sqlite3.connect(path) as db:
        db.execute(statement, values)
    return path


@pytest.mark.parametrize("name", ["evil.py:build", "os:abort"])
def test_verify_runs_no_code_on_the_word_of_the_evidence(report, tmp_path, name, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('canary', 'w')\ndef build(): open('canary', 'w')\n")
    update = "UPDATE header SET value = json_set(value, '$.architecture', ?) WHERE key = 'model'"
    path = edited(report, tmp_path, update, name)
    assert_clear(capsys, run(["verify", str(path), str(DISTILLED)]), str(path))
    assert not (tmp_path / "canary").exists()


def test_verify_believes_no_break_without_a_witness(report, tmp_path, capsys):
    for statement in (
        "UPDATE outcomes SET outcome = 7, witness = NULL",
        "UPDATE outcomes SET witness = NULL",
    ):
        path = edited(report, tmp_path, statement)
        assert_clear(capsys, run(["verify", str(path), str(DISTILLED)]), str(path))


def test_a_factory_that_exits_is_no_verdict(tmp_path, capsys):
    (tmp_path / "net.py").write_text("import sys\ndef build():\n    sys.exit('needs a GPU')\n")
    assert check(ADVERSARIAL, "--dataset", "digits", "--arch", f"{tmp_path / 'net.py'}:build") == 2


def test_nobody_listening_is_no_verdict(tmp_path):
    command = f"{sys.executable} -m robaudit check {tmp_path}/none.pt --dataset digits 2>&-"
    assert subprocess.run(command, shell=True, check=False, stdout=subprocess.DEVNULL).returncode == 2
