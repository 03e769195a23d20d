"""`robaudit train` as a user meets it."""

import json

import pytest

from robaudit.cli import run, training
from robaudit.cli.train import with_heal_value
from tests.shipped import DISTILLED

SMALL = ["--epochs", "2", "--limit", "200", "--validation", "40", "--batch-size", "50", "--steps", "2"]


def train(folder, *arguments):
    return run(["train", "--dataset", "digits", "--out", str(folder), *SMALL, *map(str, arguments)])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    return train(folder, "--heal"), folder


def test_a_run_leaves_what_check_and_report_take(done, capsys):
    code, folder = done
    assert code == 0
    assert {"log.jsonl", "best.safetensors", "last.safetensors", "resume.pt", "curves.png"} <= {
        path.name for path in folder.iterdir()
    }
    assert run(["report", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.count("epoch ") == 2
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert run(["check", str(folder / "last.safetensors"), "--dataset", "digits", "--limit", "20", "--attacks", "pgd10",
                "--force", "--json", "-"]) == 3  # fmt: skip
    model = json.loads(capsys.readouterr().out)["model"]
    assert model["normalisation"] == "none"
    assert model["architecture"].startswith("sequential:conv16")


def test_the_same_command_again_trains_nothing_and_another_is_refused(done, capsys):
    _, folder = done
    before = (folder / "last.safetensors").read_bytes()
    assert train(folder, "--heal") == 0
    assert train(folder, "--heal", "--lr", 0.2) == 2
    assert "holds another run (lr 0.05 there and 0.2 now)" in capsys.readouterr().err
    assert (folder / "last.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["train", "--heal"], ["train", "--heal=auto"]),
        (["train", "--heal", "--lr", "1"], ["train", "--heal=auto", "--lr", "1"]),
        (["train", "--heal", "paper"], ["train", "--heal", "paper"]),
        (["train", "--heal=paper"], ["train", "--heal=paper"]),
        (["check", "model.pt"], ["check", "model.pt"]),
    ],
)
def test_heal_is_a_flag_and_takes_a_value(given, expected):
    assert with_heal_value(given) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "fgsm"], "method 'fgsm' is not known; use trades, trades-ce, pgd-at, mart"),
        (["--eps", "8"], "did you mean 8/255?"),
        (["--lr", "0"], "lr 0 must be a number above 0"),
        (["--heal=often"], "heal 'often' is not known"),
        (["--arch", "resnet9000"], "no such architecture"),
        (["--limit", "10"], "less than one batch"),
        (["--from", "nowhere.pt"], "nowhere.pt"),
    ],
)
def test_bad_values_are_refused_before_anything_is_written(arguments, message, tmp_path, capsys):
    assert train(tmp_path / "run", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_report_says_what_is_wrong_with_a_folder(tmp_path, capsys):
    assert run(["report", str(tmp_path)]) == 2
    assert "give the folder of a run" in capsys.readouterr().err
    (tmp_path / "log.jsonl").write_text('{"epoch": 1')
    assert run(["report", str(tmp_path)]) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.heavy
def test_a_flagged_checkpoint_is_retrained_and_shown_before_and_after(tmp_path, capsys):
    code = run(
        ["train", "--dataset", "digits", "--out", str(tmp_path / "run"), "--heal", "--from", str(DISTILLED)]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert code == 0
    verdicts = next(line for line in said.splitlines() if line.startswith("verdict")).split()
    assert verdicts[1:] == ["overestimated", "not-overestimated"]


@pytest.mark.parametrize(("rolled_back", "told"), [(3, True), (2, False)])
def test_a_run_that_healing_does_not_end_says_so(tmp_path, capsys, rolled_back, told):
    row = {"clean": 0.9, "pgd10": 0.1, "fosc": 0.2, "fosc_normalised": 0.1, "sgcs": 0.7, "masked": False}
    rows = [row | {"epoch": k, "healing": 1, "rolled_back": k <= rolled_back} for k in range(1, 11)]
    training._summary(rows, training.TrainRequest("digits", tmp_path, None, False, None, False, False))
    out = " ".join(capsys.readouterr().out.split())
    assert "found masked at the end of epochs: none; healed in 10" in out
    assert ("3 epochs were rolled back" in out and "smaller --eps or --lr" in out) == told
