"""Many checkpoints over a Ray cluster, and what is said where there is none."""

import json
from dataclasses import replace

import pytest

from robaudit.cli import run
from robaudit.cli.auditing import CheckRequest
from robaudit.cli.cluster import _movable
from tests.shipped import ADVERSARIAL, DISTILLED

FLAGS = [
    "--dataset", "digits", "--eps", "0.1", "--limit", "60", "--apgd-steps", "10", "--fab-steps", "5",
    "--targets", "3", "--square-queries", "50",
]  # fmt: skip


def test_an_address_where_nobody_answers_is_one_clear_line(capsys):
    assert run(["check", str(ADVERSARIAL), "--ray", "127.0.0.1:9", *FLAGS]) == 2
    error = capsys.readouterr().err
    assert error.startswith("--ray 127.0.0.1:9: no cluster there")
    assert len(error.splitlines()) <= 2


@pytest.mark.heavy
def test_each_checkpoint_is_a_task_and_a_bad_one_does_not_stop_the_rest(tmp_path):
    pytest.importorskip("ray")
    bad, out = tmp_path / "bad.pt", tmp_path / "all.json"
    bad.write_text("no checkpoint")
    models = [str(DISTILLED), str(bad), str(ADVERSARIAL)]
    folder = tmp_path / "evidence"
    code = run(["check", *models, "--ray", "local", "--evidence", str(folder), "--json", str(out), *FLAGS])
    reports = {item["model"]["path"]: item for item in json.loads(out.read_text())["reports"]}
    assert code == 1
    assert set(reports) == set(models)
    assert "error" in reports[str(bad)]
    assert reports[str(DISTILLED)]["verdict"]["outcome"] == "overestimated"
    alone = tmp_path / "alone.json"
    run(["check", str(DISTILLED), "--evidence", str(tmp_path / "alone"), "--json", str(alone), *FLAGS])
    assert json.loads(alone.read_text())["accuracy"] == reports[str(DISTILLED)]["accuracy"]
    assert len(list(folder.glob("*.evidence"))) == 2


def test_files_are_named_by_their_whole_paths(tmp_path, monkeypatch):
    """A task runs in another folder than the command did."""
    monkeypatch.chdir(tmp_path)
    for name in ("net.py", "other.pt"):
        (tmp_path / name).touch()
    request = CheckRequest(
        None,
        None,
        "net.py:build",
        None,
        None,
        "cpu",
        False,
        True,
        surrogate="net.py:build",
        transfer="other.pt",
    )
    moved = _movable(request)
    assert moved.arch == moved.surrogate == f"{tmp_path / 'net.py'}:build"
    assert moved.transfer == str(tmp_path / "other.pt")
    assert _movable(replace(request, arch="residual:widths=16", surrogate=None)).arch == "residual:widths=16"
