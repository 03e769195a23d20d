"""The command line as a user meets it: exit codes, JSON, verify."""

import json
import re
import subprocess
import sys
import time

import pytest
import torch

from robaudit.cli import run
from robaudit.inputs import load_classifier, load_images
from tests.cli.helpers import QUICK, assert_clear, check
from tests.evidence.edits import editing
from tests.shipped import ADVERSARIAL, DISTILLED


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


def test_what_a_model_is_is_told_by_all_images_whatever_the_limit(tmp_path, monkeypatch):
    seen = []

    def spy(*arguments, images, **named):
        seen.append(len(images))
        return load_classifier(*arguments, images=images, **named)

    monkeypatch.setattr("robaudit.inputs.load_classifier", spy)
    report = tmp_path / "a.json"
    check(
        ADVERSARIAL, "--dataset", "digits", "--limit", 60, "--attacks", "pgd10", "--examples", "all", "--evidence",
        tmp_path / "a.evidence", "--json", report,
    )  # fmt: skip
    assert seen == [len(load_images("digits"))]
    assert json.loads(report.read_text())["data"]["n"] == 60


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


def test_a_model_of_another_structure_is_not_that_of_the_evidence(report, tmp_path, capsys):
    _, folder = report
    other = tmp_path / "other.pt"
    torch.save({"fc.weight": torch.rand(10, 64), "fc.bias": torch.rand(10)}, other)
    code = run(["verify", str(folder / "a.evidence"), str(other)])
    assert_clear(capsys, code, f"{other}: is not the model of this evidence")


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

    path = tmp_path / "edited.evidence"
    shutil.copy(report[1] / "a.evidence", path)
    with editing(path) as db:
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


def test_verify_loads_bare_tensors_of_any_image_size(audited, tmp_path):
    """A state dict tells its architecture but not the images' size; the evidence does."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(audited / "masked.safetensors"), tmp_path / "bare.pt")
    evidence = str(tmp_path / "bare.evidence")
    short = ["--apgd-steps=3", "--fab-steps=2", "--square-queries=30", "--targets=2", "--limit=30"]
    code = run(["check", str(tmp_path / "bare.pt"), "--dataset", "digits", *short, "--evidence", evidence])
    assert code in (1, 3)
    assert run(["verify", evidence, str(tmp_path / "bare.pt")]) == code


def test_verify_says_what_became_of_a_claim(audited, tmp_path, capsys):
    """It decides the exit code, beside the verdict."""
    path, model = tmp_path / "a.evidence", str(audited / "honest.safetensors")
    path.write_bytes((audited / "honest.evidence").read_bytes())
    before = run(["verify", str(path), model])
    with editing(path) as db:
        claim = '{"attack": "square", "value": 0.999}'
        db.execute("INSERT OR REPLACE INTO header VALUES ('claim', ?)", (claim,))
    capsys.readouterr()
    assert before in (0, 3)
    assert run(["verify", str(path), model]) == 1
    assert "claim of 99.90 % under Square (reduced) is refuted" in " ".join(capsys.readouterr().out.split())
