"""`robaudit train` as a user meets it."""

import json
import shlex

import pytest
import torch
from safetensors.torch import save_file

from robaudit.cli import run, training
from robaudit.cli.train import with_heal_value
from robaudit.cli.training_words import summary
from robaudit.errors import RobauditError
from robaudit.inputs import load_images
from tests.shipped import DISTILLED

SMALL = [
    "--epochs",
    "2",
    "--limit",
    "200",
    "--validation",
    "40",
    "--confirm",
    "5",
    "--batch-size",
    "50",
    "--steps",
    "2",
]


def train(folder, *arguments):
    return run(["train", "--dataset", "digits", "--out", str(folder), *SMALL, *map(str, arguments)])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    return train(folder, "--heal"), folder


def test_a_run_leaves_what_check_and_report_take(done, capsys):
    code, folder = done
    assert code == 0
    wanted = {"log.jsonl", "settings.json", "best.safetensors", "last.safetensors", "resume.pt", "curves.png"}
    assert wanted <= {path.name for path in folder.iterdir()}
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
        (["--select", "clean"], "select 'clean' is not known; use robust, pgd10"),
        (["--threads", "-1"], "threads -1 must be a whole number of at least 0"),
        (["--threads", "100000"], "threads 100000 must be at most 1024"),
        (["--lr", "1e308"], "lr 1e+308 must be a number above 0, at most 1e+06"),
        (["--weight-decay", "1e308"], "weight-decay 1e+308 must be 0 or more, at most 1e+06"),
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


class Chooses(torch.nn.Module):
    """Decides by an image's numbers, which cannot be read as data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.flatten(1)[:, :10]
        if float(y.sum()) > 0:
            return y * 2
        return y


def test_layers_without_biases_are_trained_from(tmp_path, capsys):
    """What the architecture's name builds anew has biases; at zero they change nothing."""
    images = load_images("digits", split="train")
    x, y = images.float().flatten(1), images.labels
    means = torch.stack([x[y == k].mean(0) for k in range(10)])
    tensors = {"l1.weight": torch.eye(64), "l2.weight": means / means.norm(dim=1, keepdim=True)}
    save_file(tensors, tmp_path / "bare.safetensors")
    flags = ["--dataset", "digits", "--epochs", "1", "--limit", "200", "--validation", "40", "--confirm", "0"]
    assert (
        run(["train", *flags, "--from", str(tmp_path / "bare.safetensors"), "--out", str(tmp_path / "run")])
        == 0
    )
    assert "begins with" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_a_program_cannot_be_trained_from_and_no_flag_is_offered_that_training_lacks(tmp_path, capsys):
    torch.jit.save(torch.jit.script(Chooses()), str(tmp_path / "a.pt"))
    assert train(tmp_path / "run", "--from", tmp_path / "a.pt") == 2
    said = capsys.readouterr().err  # torch's own warnings are in it too
    assert f"--from {tmp_path / 'a.pt'}: is a program, whose weights cannot be trained here" in said
    assert "--trust-program" not in said
    assert not (tmp_path / "run").exists()


ROW = {
    "epoch": 1, "clean": 0.9, "pgd10": 0.4, "robust": 0.25, "robust_low": 0.2, "robust_high": 0.3,
    "robust_examples": 200,
    "fosc": 0.2, "fosc_normalised": 0.1, "sgcs": 0.7, "masked": False, "healing": 0, "treatment": "", "best": 1,
}  # fmt: skip


def weights_of(path, epoch):
    save_file({"a": torch.zeros(1)}, path, metadata={"epoch": str(epoch)})


def said_of(tmp_path, rows, **settings):
    best = tmp_path / "best.json"
    if (tmp_path / "best.safetensors").exists():
        weights_of(
            tmp_path / "best.safetensors", json.loads(best.read_text())["epoch"] if best.exists() else 2
        )
        weights_of(tmp_path / "last.safetensors", len(rows))
    request = training.TrainRequest("digits", tmp_path, None, False, None, False, False)
    found = training.settings_for("digits", {"seed": 0, **settings}, 1000)
    return summary([ROW | {"epoch": k, "best": 2} | row for k, row in enumerate(rows, 1)], found, request)


def test_the_last_line_says_what_was_kept_why_and_what_to_run_next(tmp_path):
    assert "is gone" in said_of(tmp_path, [{}, {"robust": 0.28}, {}], eps=0.3)[-1]
    for name in ("best", "last"):
        (tmp_path / f"{name}.safetensors").touch()
    last = said_of(tmp_path, [{}, {"robust": 0.28}, {}], eps=0.3)[-1]
    assert last.startswith(f"kept: {tmp_path / 'best.safetensors'} (epoch 2, of the highest robust accuracy)")
    assert "robust 28.0 % (20.0 … 30.0, of 200 held out), PGD-10 40.0 %" in last
    assert last.endswith(
        f"next: robaudit check {tmp_path / 'best.safetensors'} --dataset digits --eps 0.3 "
        f"--evidence {tmp_path / 'best.evidence'}"
    )
    assert "highest PGD-10 accuracy" in said_of(tmp_path, [{}, {}], select="pgd10")[-1]
    none = said_of(tmp_path, [{"best": 0}, {"best": 0}], heal="paper")[-1]
    assert (
        "(epoch 2, the last, for no epoch was fit to be the best: each has a FOSC above 0.1 (--threshold))"
        in none
    )
    best = ROW | {
        "asked": 200,
        "robust": 0.21,
        "robust_when_chosen": 0.28,
        "chosen_examples": 128,
        "autoattack": 0.24,
        "luck": 0.03,
        "epoch": 2,
    }
    (tmp_path / "best.json").write_text(json.dumps(best))
    why, last = said_of(tmp_path, [{}, {"robust": 0.28}, {}], eps=0.3)[-2:]
    assert why == (
        "few passes left 28.0 % of 128 held out robust when epoch 2 was chosen, AutoAttack 24.0 % of 200; 3.0 points "
        "of that are taken off, the usual luck of the best of several"
    )
    assert "robust 21.0 % (20.0 … 30.0, AutoAttack on 200 held out)" in last
    (tmp_path / "best.json").write_text(json.dumps(best | {"epoch": 0}))
    assert (
        "(what the run began with, for no epoch has a higher robust accuracy)"
        in said_of(tmp_path, [{"best": 0}])[-1]
    )
    assert "(what the run began with" in said_of(tmp_path, [{"best": 0, "robust": 0.9}])[-1]
    for bad in (
        {"epoch": "\u001b[2J"},
        {"robust": 10**400},
        {"luck": float("nan")},
        {"asked": 1.5},
        {"clean": -1},
    ):
        (tmp_path / "best.json").write_text(json.dumps(best | bad))
        with pytest.raises(
            RobauditError, match=rf"best.json: is damaged \(no number that can be for {next(iter(bad))}"
        ):
            said_of(tmp_path, [{}])


def test_why_one_is_kept_though_an_epoch_has_a_larger_number(tmp_path):
    for name in ("best", "last"):
        (tmp_path / f"{name}.safetensors").touch()
    whole = {"robust": 0.28, "robust_thorough": True}
    fewer = {"robust": 0.31, "robust_examples": 128}
    quick = {"robust": 0.31, "robust_thorough": False}
    for other in (fewer, quick):
        last = said_of(tmp_path, [other, whole, {}])[-1]
        assert (
            "epoch 2, of the highest robust accuracy; higher numbers are of fewer examples or fewer passes"
            in last
        )
    last = said_of(tmp_path, [{"robust": 0.9, "at_chance": True}, whole])[-1]
    assert "epoch 2, of the highest robust accuracy; epochs that guess do not count)" in last
    best = ROW | {"asked": 200, "robust": 0.0, "robust_low": 0.0, "epoch": 0}
    (tmp_path / "best.json").write_text(json.dumps(best))
    last = said_of(tmp_path, [{"best": 0, "robust": 0.1, "at_chance": True}])[-1]
    assert "what the run began with" in last
    assert "epochs that guess do not count" in last


@pytest.mark.parametrize("how", ["cut", "link", "other"])
def test_weights_that_are_not_what_was_kept_are_not_announced(tmp_path, how):
    request = training.TrainRequest("digits", tmp_path, None, False, None, False, False)
    found = training.settings_for("digits", {"seed": 0}, 1000)
    path = tmp_path / "best.safetensors"
    weights_of(path, 2)
    assert summary([ROW], found, request)[-1].endswith("put it back") is True
    weights_of(path, 1)
    assert summary([ROW], found, request)[-1].startswith("kept: ")
    if how == "cut":
        path.write_bytes(path.read_bytes()[:20])
    elif how == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        weights_of(path, 7)
    assert f"{path} is not what the run kept" in summary([ROW], found, request)[-1]


@pytest.mark.parametrize(("rows", "heal", "lines"), [
    ([{}, {}], "auto", ["no epoch became masked, so the healer changed nothing"]),
    ([{}, {"masked": True}], "off", ["was masked in epoch 2; --heal acts on that"]),
    ([{"masked": True}, {"tried": {"untreated": 0.3}, "treatment": ""}], "auto",
     ["was masked in epoch 1", "no treatment did better than none in epoch 2, and the run was left alone there"]),
    ([{"masked": True}, {"tried": {"untreated": 0.3}, "treatment": "noise", "healing": 8}], "auto",
     ["was masked in epoch 1", "treatments that did better than none were kept for a while: noise from epoch 2 on"]),
    ([{}, {"masked": True}], "auto",
     ["was masked in epoch 2",
      "the last epoch is masked, and there was none after it to treat that in: train for more epochs"]),
    ([{"masked": True}, {"healing": 8}], "paper",
     ["was masked in epoch 1", "noise in the first batches of epoch 2"]),
    ([{"rugged": True}, {}], "auto", ["no epoch became masked, so the healer changed nothing",
                                      "the loss surface was rugged, without deceiving PGD-10, in epoch 1"]),
    ([{"rugged": True}, {"weak": True}], "off", []),
])  # fmt: skip
def test_what_is_said_of_healing_is_what_was_done_and_no_two_lines_contradict(tmp_path, rows, heal, lines):
    assert said_of(tmp_path, rows, heal=heal)[1:-1] == lines


def test_without_a_terminal_there_is_a_line_an_epoch_and_quiet_is_silent(tmp_path, capsys):
    assert train(tmp_path / "a") == 0
    printed = capsys.readouterr()
    assert [line.split()[1] for line in printed.err.splitlines() if line.startswith("epoch")] == ["1", "2"]
    assert "only 40 examples are held out" in printed.err
    assert printed.out.splitlines()[-1].startswith("kept: ")
    assert train(tmp_path / "b", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_the_command_that_is_kept_makes_the_same_run(done, capsys):
    _, folder = done
    command = shlex.split(json.loads((folder / "settings.json").read_text())["command"])
    assert command[:2] == ["robaudit", "train"]
    before = (folder / "last.safetensors").read_bytes()
    assert run(command[1:]) == 0
    assert (folder / "last.safetensors").read_bytes() == before
    assert "kept: " in capsys.readouterr().out


def test_a_threshold_that_nothing_uses_is_told(tmp_path, capsys):
    """And no error: sweeps over the healers give it to all, and runs of earlier versions were made with it."""
    assert train(tmp_path / "a", "--threshold", "0.3") == 0
    assert "changes nothing without --heal=paper" in capsys.readouterr().err
    assert train(tmp_path / "b", "--threshold", "0.3", "--heal=paper") == 0
    assert train(tmp_path / "c", "--threshold", "0.1") == 0
    assert "changes nothing" not in capsys.readouterr().err


def test_a_run_at_chance_is_told(tmp_path, capsys):
    assert train(tmp_path / "run", "--method", "pgd-at", "--eps", "0.3", "--lr", "3", "--epochs", "4") in (
        0,
        2,
    )
    printed = capsys.readouterr().err
    assert "epochs at chance" in printed or "not finite" in printed
