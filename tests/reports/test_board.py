"""The board of many audits, and the page of a sweep."""

import csv
import io
import json

import pytest

from robaudit.cli import run
from robaudit.reports.board import board_csv


@pytest.fixture(scope="module")
def site(audited, tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    (folder / "bad.evidence").write_text("no evidence")
    out = folder / "site"
    assert run(["board", str(audited), str(folder / "bad.evidence"), "--out", str(out)]) == 0
    return out


def test_every_audit_is_a_row_with_its_report(site, audited):
    rows = json.loads((site / "board.json").read_text())["audits"]
    assert [row["verdict"] for row in rows][1:] == ["overestimated", "could-not-audit"]
    data = json.loads((audited / "masked.json").read_text())
    masked = rows[1]
    assert masked["gap"]["value"] == data["table"]["gaps"][1]["value"]
    assert (
        masked["autoattack"]["low"]
        == next(r for r in data["table"]["rows"] if r["name"] == "autoattack")["low"]
    )
    assert masked["stands"] == data["headline"]["at_most"]
    page = (site / "index.html").read_text()
    assert f'href="{masked["report"]}"' in page
    assert "OVERESTIMATED" in (site / masked["report"]).read_text()
    table = list(csv.DictReader(io.StringIO((site / "board.csv").read_text())))
    assert [row["verdict"] for row in table] == [row["verdict"] for row in rows]
    assert float(table[1]["gap_value"]) == masked["gap"]["value"]
    assert page.count("<circle") == 2


def test_a_spreadsheet_finds_no_formula():
    empty = dict.fromkeys(("clean", "pgd10", "autoattack", "gap", "stands", "claim"))
    text = board_csv([{"number": 1, "model": "=cmd|'/c'!A1", "verdict": "could-not-audit", **empty}])
    assert "'=cmd" in text.splitlines()[1]


def test_what_holds_no_evidence_is_refused(tmp_path, capsys):
    for place in (tmp_path, tmp_path / "none"):
        assert run(["board", str(place), "--out", str(tmp_path / "site")]) == 2
        assert capsys.readouterr().err.startswith(str(place))
