"""`--log`: by the trackers' own clients where they are installed, and a clear error where not."""

import json
import os
import sys
from types import ModuleType, SimpleNamespace

import pytest

from robaudit.cli import run
from robaudit.cli.trackers import TRACKERS, log_report, tracked
from tests.cli.helpers import assert_clear, check
from tests.shipped import ADVERSARIAL

QUICK = ["--dataset", "digits", "--attacks", "pgd10", "--limit", 20]


@pytest.mark.parametrize("kind", TRACKERS)
def test_an_absent_tracker_is_told_before_any_work(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    start = f"--log {kind}: {kind} is not installed; pip install 'robaudit[{kind}]'"
    evidence = tmp_path / "e"
    assert_clear(capsys, check(ADVERSARIAL, *QUICK, "--log", kind, "--evidence", evidence), start)
    out = str(tmp_path / "run")
    assert_clear(capsys, run(["train", "--dataset", "digits", "--out", out, "--log", kind]), start)
    assert_clear(capsys, run(["sweep", "none.toml", "--out", out, "--log", kind]), start)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker(capsys):
    assert_clear(
        capsys,
        check(ADVERSARIAL, *QUICK, "--log", "mlfow"),
        "log 'mlfow' is not known (did you mean mlflow?)",
    )


@pytest.fixture
def client(monkeypatch):
    """A client with wandb's public functions that keeps its calls."""
    calls = {"log": [], "finish": []}
    module = ModuleType("wandb")
    module.__spec__ = SimpleNamespace(name="wandb")
    made = SimpleNamespace(
        log=lambda values, step: calls["log"].append((step, values)),
        finish=lambda *, exit_code: calls["finish"].append(exit_code),
    )
    module.init = lambda **named: calls.update(init=named) or made
    monkeypatch.setitem(sys.modules, "wandb", module)
    return calls


def test_an_audit_is_logged_with_its_numbers(client, tmp_path):
    report = tmp_path / "r.json"
    check(ADVERSARIAL, *QUICK, "--log", "wandb", "--evidence", tmp_path / "e", "--json", report)
    data = json.loads(report.read_text())
    ((step, values),) = client["log"]
    assert step == 0
    assert values["accuracy/pgd10"] == data["accuracy"]["pgd10"]["value"]
    assert values["overestimated"] == 0
    assert client["finish"] == [0]
    assert client["init"]["config"]["digest"] == data["model"]["digest"]
    data["model"]["path"] = "a\x1b[31m\nb"
    log_report("wandb", data, {}, tmp_path)
    assert "\x1b" not in str(client["init"])


def test_a_run_is_logged_epoch_by_epoch_and_a_failed_one_is_called_so(client, tmp_path, monkeypatch):
    flags = [
        "--epochs",
        "1",
        "--limit",
        "100",
        "--validation",
        "20",
        "--confirm",
        "0",
        "--threads",
        "1",
        "--quiet",
    ]
    assert run(["train", "--dataset", "digits", "--out", str(tmp_path / "a"), *flags, "--log", "wandb"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [step for step, _ in client["log"]] == [1]
    assert client["log"][-1][1]["pgd10"] == rows[-1]["pgd10"]
    assert client["finish"] == [0]
    with pytest.raises(KeyError), tracked("wandb", "b", {}, tmp_path):
        raise KeyError
    assert client["finish"] == [0, 1]


def test_tensorboard_itself(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    with tracked("tensorboard", "a", {"lr": 0.1}, tmp_path / "b") as log:
        log({"accuracy/pgd10": 0.5}, 3)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(tmp_path / "b"))
    found.Reload()
    assert [(item.step, item.value) for item in found.Scalars("accuracy/pgd10")] == [(3, 0.5)]


def test_mlflow_itself(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'm.db'}")
    with tracked("mlflow", "a", {"lr": 0.1}, tmp_path) as log:
        log({"accuracy/pgd10": 0.5}, 3)
    (found,) = mlflow.search_runs(experiment_names=["robaudit"], output_format="list")
    assert found.data.metrics == {"accuracy/pgd10": 0.5}
    assert found.data.params == {"lr": "0.1"}
    assert found.info.status == "FINISHED"


def test_wandb_itself(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    with tracked("wandb", "a", {"lr": 0.1}, tmp_path) as log:
        log({"accuracy/pgd10": 0.5}, 3)
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_a_tracker_that_cannot_be_used_is_told_before_the_audit(tmp_path, capsys, monkeypatch):
    def refuse(name):
        raise OSError(f"no such place for {name}\nmore")

    module = ModuleType("mlflow")
    module.__spec__ = SimpleNamespace(name="mlflow")
    module.set_experiment = refuse
    monkeypatch.setitem(sys.modules, "mlflow", module)
    evidence, start = tmp_path / "e", "--log mlflow: cannot be started (no such place for robaudit); see"
    assert_clear(capsys, check(ADVERSARIAL, *QUICK, "--log", "mlflow", "--evidence", evidence), start)
    assert list(tmp_path.iterdir()) == []
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


@pytest.mark.parametrize("part", ["init", "log"])
def test_a_tracker_that_fails_after_the_audit_leaves_its_exit_code_and_reports(
    part, client, tmp_path, capsys, monkeypatch
):
    def fail(*_, **__):
        raise ConnectionError("gone")

    if part == "init":
        monkeypatch.setattr(sys.modules["wandb"], "init", fail)
    else:
        monkeypatch.setattr(sys.modules["wandb"].init(), "log", fail)
    page = tmp_path / "a.md"
    code = check(ADVERSARIAL, *QUICK, "--log", "wandb", "--evidence", tmp_path / "e", "--markdown", page)
    assert code == 3, "one attack alone decides nothing"
    assert "gone" in capsys.readouterr().err
    assert page.exists()


def test_two_trackers_are_not_one(tmp_path, capsys, client):
    code = run(
        ["train", "--dataset", "digits", "--out", str(tmp_path / "a"), "--tensorboard", "--log", "wandb"]
    )
    assert_clear(capsys, code, "--tensorboard: is --log tensorboard, not with --log wandb")
    assert list(tmp_path.iterdir()) == []
