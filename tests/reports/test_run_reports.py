"""A run's curves as a picture and as a page, from made-up logs."""

import json
import math
import re

import pytest

from robaudit.cli import run
from robaudit.errors import RobauditError
from robaudit.reports import run_best
from robaudit.reports.run_curves import best_epoch, read_log, spans, subjects
from robaudit.reports.run_page import run_page
from robaudit.reports.run_plots import draw_run

OLD = {
    "clean": 0.9, "pgd10": 0.5, "fosc": 12.0, "fosc_normalised": 0.1, "sgcs": 0.7, "train_clean": 0.95,
    "train_adv": 0.6, "lr": 0.1,
}  # fmt: skip
NEW = OLD | {
    "robust": 0.4, "robust_low": 0.35, "robust_high": 0.45, "robust_examples": 200, "gap": 0.1, "black_box_gap": 0.02,
    "masked": False, "healing": 0, "best": 2,
}  # fmt: skip


def folder_of(tmp_path, row, epochs=5, **last):
    rows = [row | {"epoch": k} for k in range(1, epochs + 1)]
    rows[-1] |= last
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    return tmp_path


def test_one_subject_a_panel_on_one_scale(tmp_path):
    found = subjects(read_log(folder_of(tmp_path, NEW)))
    for subject in found:
        finite = [abs(value) for curve in subject.curves for value in curve.values if math.isfinite(value)]
        assert max(finite) <= 1 or len(subject.curves) == 1, "FOSC would flatten the others"
    assert [len(item.curves) for item in found] == [3, 2, 1, 1, 2, 1]
    assert found[0].curves[2].low == (0.35,) * 5
    assert best_epoch(read_log(tmp_path)) == 2


def test_logs_of_older_versions_are_drawn_without_what_they_lack(tmp_path):
    folder = folder_of(tmp_path, OLD)
    assert [len(item.curves) for item in subjects(read_log(folder))] == [2, 1, 1, 2, 1]
    assert draw_run(folder, folder / "curves.png")[0].stat().st_size > 10_000
    assert "robust " not in run_page(folder).partition("<section>")[0]


@pytest.mark.parametrize("epochs", [1, 5])
def test_legends_and_shades_are_beside_the_curves(tmp_path, epochs):
    folder = folder_of(tmp_path, NEW, epochs, masked=True, healing=3)
    drawn = draw_run(folder, folder / "curves.svg")[0].read_text()
    assert drawn.startswith("<?xml")
    page = run_page(folder)
    assert page.count('<svg class="chart"') == 6
    assert "shaded: masked" in page
    assert "shaded: treated by the healer" in page
    assert len(re.findall("<tr>", page)) == epochs + 1
    assert "script-src &#39;none&#39;" in page


def test_a_single_epoch_is_seen_and_an_unfinished_run_named(tmp_path):
    folder = folder_of(tmp_path, NEW | {"best": 1}, 1)
    (folder / "settings.json").write_text(
        json.dumps({"settings": {"epochs": 4, "validation": 1000}, "command": ""})
    )
    page = run_page(folder)
    assert page.count('<circle class="dot') >= 9
    assert "1 of 4 epochs: the run is not finished" in page
    assert "of the 1000 held out" in page


def test_a_value_that_dwarfs_the_others_does_not_flatten_them(tmp_path):
    folder = folder_of(tmp_path, NEW, 8, fosc=9000.0)
    assert [item.log for item in subjects(read_log(folder))] == [False] * 5 + [True]
    assert ">1000</text>" in run_page(folder)
    assert draw_run(folder, folder / "curves.png")[0].stat().st_size > 10_000


@pytest.mark.parametrize("value", [-1e10, 0.0])
def test_numbers_below_zero_are_drawn(tmp_path, value):
    assert run_page(folder_of(tmp_path, NEW | {"sgcs": value, "fosc": value, "fosc_normalised": value}))


def test_what_algorithm_1_leaves_out_is_said(tmp_path):
    rows = [NEW | {"epoch": k, "fosc": f, "robust": r} for k, f, r in ((1, 0.05, 0.3), (2, 0.2, 0.5))]
    words = run_best.why_best(rows[0], rows, most_fosc=0.1)
    assert (
        words
        == "epoch 1, of the highest robust accuracy; epochs with a FOSC above 0.1 do not count (--threshold)"
    )
    assert "--threshold" not in run_best.why_best(rows[0], rows[:1], most_fosc=0.1)


def test_the_page_shows_the_audit_of_the_best_weights_and_of_no_others(tmp_path, audited):
    folder = folder_of(tmp_path, NEW)
    (folder / "best.evidence").write_bytes((audited / "masked.evidence").read_bytes())
    (folder / "best.safetensors").write_bytes((audited / "masked.safetensors").read_bytes())
    page = run_page(folder)
    assert "Audit of the best checkpoint" in page
    assert "AutoAttack" in page
    (folder / "best.safetensors").write_bytes((audited / "honest.safetensors").read_bytes())
    assert "is of other weights" in run_page(folder)


def test_what_a_strangers_folder_holds_is_text(tmp_path):
    folder = folder_of(tmp_path, NEW, masked=True, reason="<script>\x1b[2J", treatment="<b>")
    (folder / "settings.json").write_text(json.dumps({"command": "</pre><script>alert(1)</script>"}))
    page = run_page(folder)
    assert "<script>" not in page
    assert "\x1b" not in page


@pytest.mark.parametrize("line", ["[]", "1", '{"epoch": "1"}', '{"epoch": true}', "{}"])
def test_a_log_that_is_none_is_refused_in_one_line(tmp_path, line, capsys):
    (tmp_path / "log.jsonl").write_text(line + "\n")
    with pytest.raises(RobauditError, match="is damaged"):
        read_log(tmp_path)
    for form in ("terminal", "html"):
        assert run(["report", str(tmp_path), "--format", form]) == 2
        assert "is damaged" in capsys.readouterr().err


def test_the_command_writes_the_page_and_refuses_other_formats(tmp_path, capsys):
    folder = folder_of(tmp_path, NEW)
    assert run(["report", str(folder), "--format", "html", "--out", str(folder / "run.html")]) == 0
    assert (folder / "run.html").read_text() == run_page(folder)
    assert run(["report", str(folder), "--format", "junit"]) == 2
    assert "use terminal or html" in capsys.readouterr().err


def test_the_page_says_what_the_kept_network_is_worth_and_why_that_is_less(tmp_path):
    folder = folder_of(tmp_path, NEW)
    best = {name: NEW[name] for name in NEW if name.startswith(("clean", "pgd10", "robust"))}
    best |= {
        "asked": 200,
        "epoch": 2,
        "robust": 0.31,
        "robust_low": 0.25,
        "robust_high": 0.38,
        "robust_when_chosen": 0.4,
        "autoattack": 0.33,
        "luck": 0.02,
    }
    assert "robust 40.0 %" in run_page(folder).partition("<section>")[0]
    (folder / "best.json").write_text(json.dumps(best))
    head = run_page(folder).partition("<section>")[0]
    assert (
        "Kept as the best: epoch 2, of the highest robust accuracy: clean 90.0 %, robust 31.0 % (25.0 … 38.0, "
        "AutoAttack on 200 held out)" in head
    )
    assert "AutoAttack 33.0 % of 200; 2.0 points of that are taken off" in head


BEYOND = "1" + "0" * 400


@pytest.mark.parametrize(
    "change",
    [
        *({"epoch": place} for place in (1e308, math.nan, math.inf, -1, True, int(BEYOND))),
        *({name: value} for name, value in (("fosc", 1e308), ("clean", int(BEYOND)), ("gap", -int(BEYOND)))),
        *({name: value} for name, value in (("best", int(BEYOND)), ("lr", None), ("sgcs", "0.5"))),
    ],
    ids=lambda change: f"{change}"[:30],
)
def test_a_number_that_no_run_has_is_told(tmp_path, change):
    with pytest.raises(RobauditError, match="is damaged"):
        read_log(folder_of(tmp_path, NEW, 1, **change))


def test_a_run_that_diverged_is_drawn(tmp_path):
    folder = folder_of(
        tmp_path, NEW | dict.fromkeys(("fosc", "sgcs", "robust_low"), math.nan), 3, gap=math.inf
    )
    assert "SGCS" in run_page(folder)
    assert draw_run(folder, folder / "curves.png")
    with pytest.raises(RobauditError, match="no finite number"):
        draw_run(folder_of(tmp_path, {"epoch": 1} | dict.fromkeys(OLD, math.nan), 2), folder / "curves.png")


def test_spans_of_lines_that_follow_each_other_are_one(tmp_path):
    rows = [{"epoch": k, "masked": k in (2, 3, 4, 7, 9)} for k in range(1, 10)]
    assert spans(rows, "masked") == [(1.5, 4.5), (6.5, 7.5), (8.5, 9.5)]
    line = json.dumps(NEW | {"epoch": 1}) + "\n"
    (tmp_path / "log.jsonl").write_text(line * 10_001)
    with pytest.raises(RobauditError, match="more than the 10,000"):
        read_log(tmp_path)


@pytest.mark.parametrize(
    "line", ['{"step": 1}', '{"step": 1, "w_grad_norm": "x", "ce_norm": null, "kl_norm": 1}']
)
def test_batches_without_their_numbers(tmp_path, line):
    folder = folder_of(tmp_path, OLD, 1)
    (folder / "batches.jsonl").write_text(line + "\n")
    assert len(draw_run(folder, folder / "curves.svg")) == 2


def test_a_command_nested_without_end_is_damaged(tmp_path):
    folder = folder_of(tmp_path, OLD, 1)
    (folder / "settings.json").write_text("[" * 100_000)
    with pytest.raises(RobauditError, match=r"settings\.json: is damaged"):
        run_page(folder)


@pytest.mark.parametrize(
    "change", [{"clean": int(BEYOND)}, {"epoch": 1.5e300}, {"robust": None}, {"luck": int(BEYOND)}]
)
def test_what_is_kept_of_the_best_is_bounded_too(tmp_path, change):
    folder = folder_of(tmp_path, NEW, 2)
    kept = {name: NEW.get(name, 1) for name in ("asked", "epoch", *run_best.SHOWN)} | {
        "robust_when_chosen": 0.5,
        "autoattack": 0.4,
    }
    (folder / run_best.BEST).write_text(json.dumps(kept | change))
    with pytest.raises(RobauditError, match=r"best\.json: is damaged"):
        run_page(folder)
    (folder / run_best.BEST).unlink()
    assert "points of that" not in run_page(folder_of(folder, NEW | {"luck": 1, "epoch": 2}, 2)), (
        "a log has no such number"
    )
    (folder / run_best.BEST).write_text("[" * 100_000)
    with pytest.raises(RobauditError, match=r"best\.json: is damaged"):
        run_page(folder)


def test_the_page_says_which_of_its_numbers_are_of_which_examples(tmp_path):
    folder = folder_of(tmp_path, NEW, robust_examples=128, robust=0.5, at_chance=False)
    (folder / "settings.json").write_text(
        json.dumps({"command": "robaudit train", "settings": {"select": "robust"}})
    )
    page = run_page(folder)
    assert "higher numbers are of fewer examples or fewer passes" in page
    assert "of 128 to 200 examples" in page
    assert "kept as the best: epoch 2</li>" in page
    assert '<td class="n">128</td>' in page
    assert ">kept as the best</td>" in page
    (folder / "settings.json").write_text(json.dumps({"command": "", "settings": {"select": "pgd10"}}))
    assert "of the highest PGD-10 accuracy" in run_page(folder)


def test_a_best_that_lies_outside_its_interval_is_damaged(tmp_path):
    folder = folder_of(tmp_path, NEW)
    best = {name: NEW[name] for name in NEW if name.startswith(("clean", "pgd10", "robust"))}
    (folder / "best.json").write_text(json.dumps(best | {"asked": 200, "epoch": 2, "robust": 0.99}))
    with pytest.raises(RobauditError, match="robust is outside its interval"):
        run_page(folder)


def test_a_report_does_not_replace_what_it_is_made_of(tmp_path, capsys):
    folder = folder_of(tmp_path, NEW)
    for name in ("log.jsonl", "best.json", "best.safetensors"):
        assert run(["report", str(folder), "--format", "html", "--out", str(folder / name)]) == 2
        assert "is both" in capsys.readouterr().err
    assert run(["report", str(folder), "--format", "html", "--out", str(tmp_path / "page.html")]) == 0
