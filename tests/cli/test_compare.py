"""`robaudit compare`: which of two models is worse, pair by pair, and what cannot be compared."""

import json
import shutil

import pytest

from robaudit.cli import run
from robaudit.evidence import EvidenceFile
from robaudit.verdict import compare
from tests.cli.helpers import assert_clear
from tests.evidence.edits import editing


def read(path):
    with EvidenceFile.open(path) as file:
        return file.read()


def test_a_model_is_not_worse_than_itself_and_the_masked_one_is_worse(audited, capsys):
    honest, masked = str(audited / "honest.evidence"), str(audited / "masked.evidence")
    assert run(["compare", honest, honest, "--margin", "0.2"]) == 0
    assert "NOT WORSE" in capsys.readouterr().out
    assert run(["compare", honest, masked]) == 1
    out = capsys.readouterr().out
    assert "not-overestimated → overestimated" in out
    assert "new findings: " in out


def test_the_loss_is_counted_pair_by_pair(audited, tmp_path):
    old, new = read(audited / "honest.evidence"), read(audited / "masked.evidence")
    found = compare(old, new)
    by_hand = []
    for key in new.ids[: min(len(old), len(new))]:
        stands = [bool(item.survives("autoattack")[item.ids == key][0]) for item in (old, new)]
        known = [bool(item.known("autoattack")[item.ids == key][0]) for item in (old, new)]
        if all(known):
            by_hand.append((key, int(stands[0]) - int(stands[1])))
    assert found.losses["autoattack"].value == pytest.approx(sum(v for _, v in by_hand) / len(by_hand))
    assert found.broken == tuple(key for key, value in by_hand if value > 0)
    assert found.fixed == tuple(key for key, value in by_hand if value < 0)
    assert compare(new, old).losses["autoattack"].value == -found.losses["autoattack"].value


def test_few_examples_leave_a_small_margin_open(audited):
    honest = str(audited / "honest.evidence")
    assert run(["compare", honest, honest, "--margin", "0.0001"]) in (0, 3)
    assert run(["compare", honest, honest, "--margin", "0.005"]) == 3


@pytest.mark.parametrize("form", ["json", "markdown"])
def test_a_comparison_as_a_file(form, audited, tmp_path):
    target = tmp_path / "out"
    paths = [str(audited / f"{name}.evidence") for name in ("honest", "masked")]
    assert run(["compare", *paths, "--format", form, "--out", str(target)]) == 1
    text = target.read_text()
    if form == "json":
        assert json.loads(text)["outcome"] == "worse"
    else:
        assert text.startswith("## WORSE")


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE header SET value = json_set(value, '$.sha256', 'other') WHERE key = 'data'", "another data"),
        ("UPDATE header SET value = json_set(value, '$.threat.eps', 0.2) WHERE key = 'plan'", "another eps"),
        (
            "UPDATE header SET value = json_set(value, '$.budget.targets', 3) WHERE key = 'plan'",
            "another budget",
        ),
        ("UPDATE examples SET position = 1000 - position", "another order"),
    ],
)
def test_what_cannot_be_compared_is_refused(statement, says, audited, tmp_path, capsys):
    path = tmp_path / "other.evidence"
    shutil.copy(audited / "honest.evidence", path)
    with editing(path) as db:
        db.execute(statement)
    code = run(["compare", str(path), str(audited / "honest.evidence")])
    error = capsys.readouterr().err
    assert code == 2
    assert says in error
    assert error.startswith(str(path))


def test_bad_comparisons(audited, tmp_path, capsys):
    honest = str(audited / "honest.evidence")
    assert_clear(capsys, run(["compare", honest, str(tmp_path / "none")]), str(tmp_path / "none"))
    assert_clear(capsys, run(["compare", honest, honest, "--margin", "2"]), "margin 2")
    assert_clear(capsys, run(["compare", honest, honest, "--format", "html"]), "format 'html'")
