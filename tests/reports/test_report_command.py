"""`robaudit report`: every format to a file, and what it refuses."""

import dataclasses

import numpy as np
import pytest

from robaudit.cli import run
from robaudit.errors import RobauditError
from robaudit.evidence import Surface
from robaudit.reports import REPORTS, open_case
from tests.cli.helpers import assert_clear
from tests.evidence.edits import editing


@pytest.mark.parametrize("form", ["json", "html", "markdown", "junit", "sarif", "badge", "terminal"])
def test_every_format_from_the_command_line(form, audited, tmp_path):
    target = tmp_path / "out"
    assert run(["report", str(audited / "masked.evidence"), "--format", form, "--out", str(target)]) == 0
    assert target.stat().st_size > 100
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_the_landscape_must_be_the_models(audited, tmp_path, capsys):
    model = str(audited / "honest.safetensors")
    run(
        [
            "landscape",
            model,
            "--dataset",
            "digits",
            "--images",
            "1",
            "--grid",
            "5",
            "--out",
            str(tmp_path / "a.png"),
        ]
    )
    capsys.readouterr()
    arguments = [
        "--format",
        "html",
        "--out",
        str(tmp_path / "r.html"),
        "--landscape",
        str(tmp_path / "a.npz"),
    ]
    assert run(["report", str(audited / "honest.evidence"), *arguments]) == 0
    assert 'class="surface"' in (tmp_path / "r.html").read_text()
    (tmp_path / "r.html").unlink()
    masked = str(audited / "masked.evidence")
    assert_clear(capsys, run(["report", masked, *arguments]), masked)
    (tmp_path / "a.npz").write_text("no")
    assert_clear(
        capsys, run(["report", str(audited / "honest.evidence"), *arguments]), str(tmp_path / "a.npz")
    )
    assert not (tmp_path / "r.html").exists()


def edited(audited, tmp_path, statement, *values):
    path = tmp_path / "e.evidence"
    path.write_bytes((audited / "masked.evidence").read_bytes())
    with editing(path) as db:
        db.execute(statement, values)
    return path


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE header SET value = '\"robaudit/0\"' WHERE key = 'schema'", "schema"),
        ("UPDATE header SET value = 'false' WHERE key = 'finished'", "unfinished"),
        ("DELETE FROM examples", "damaged"),
        ("UPDATE header SET value = '[]' WHERE key = 'model'", "damaged"),
        (
            "UPDATE header SET value = json_set(value, '$.parameters', 'many') WHERE key = 'model'",
            "damaged",
        ),
        (
            "UPDATE header SET value = json_set(value, '$.shape', json('[1, 8]')) WHERE key = 'data'",
            "damaged",
        ),
        ("UPDATE header SET value = json_remove(value, '$.n') WHERE key = 'data'", "damaged"),
        ("UPDATE images SET image = x'75'", "damaged"),
        ("UPDATE outcomes SET witness = NULL", "without its witness"),
    ],
)
def test_bad_evidence_gives_no_report(statement, says, audited, tmp_path, capsys):
    path = edited(audited, tmp_path, statement)
    target = tmp_path / "r.html"
    code = run(["report", str(path), "--format", "html", "--out", str(target)])
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith(str(path))
    assert says in error
    assert "should not happen" not in error
    assert not target.exists()


def test_an_unfinished_audit_is_reported_on_request(audited, tmp_path, capsys):
    path = edited(audited, tmp_path, "UPDATE header SET value = 'false' WHERE key = 'finished'")
    assert run(["report", str(path), "--unfinished"]) == 0
    assert "unfinished" in capsys.readouterr().out


def test_evidence_of_the_first_releases_still_reads(audited, tmp_path):
    path = edited(audited, tmp_path, "DROP TABLE answers")
    case = open_case(path, pictures=True)
    assert case.pictures
    assert all(item.answer is None for item in case.pictures)
    assert "→ <strong>?</strong>" in REPORTS["html"](case)


def test_surface_survives_its_file(tmp_path, audited):
    model = str(audited / "honest.safetensors")
    run(
        [
            "landscape",
            model,
            "--dataset",
            "digits",
            "--images",
            "2",
            "--grid",
            "5",
            "--out",
            str(tmp_path / "a.png"),
        ]
    )
    first = Surface.load(tmp_path / "a.npz")
    first.save(tmp_path / "b.npz")
    second = Surface.load(tmp_path / "b.npz")
    for item in dataclasses.fields(Surface):
        np.testing.assert_array_equal(getattr(first, item.name), getattr(second, item.name))
    with pytest.raises(RobauditError, match="cannot be written"):
        first.save(tmp_path / "no" / "folder.npz")
