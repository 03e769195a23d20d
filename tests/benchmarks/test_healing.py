"""The laboratory for the healers: a small run, attacked once, and its row."""

import math

import pytest


@pytest.fixture
def healing():
    import healing

    return healing


SMALL = {
    "epochs": 1,
    "limit": 150,
    "validation": 40,
    "confirm": 0,
    "batch_size": 50,
    "steps": 1,
    "lr": 0.01,
    "eps": 0.4,
}


def test_a_row_has_every_column_and_nothing_is_done_twice(healing, tmp_path, monkeypatch, capsys):
    settings = {"small": healing.Setting("digits", SMALL)}
    lab = healing.Lab(tmp_path, None, 12)
    healing.measure(lab, settings, ["usual", "off"], [0, 1])
    first = capsys.readouterr().out
    head, _, *rows = first.partition("\n\n")[0].splitlines()
    assert len(rows) == 2
    assert all(row.count("|") == head.count("|") for row in rows)
    assert first.count("small off seed") == 2
    assert "nan" not in first
    monkeypatch.setattr(healing, "attack", None)
    healing.measure(lab, settings, ["usual", "off"], [0, 1])
    assert capsys.readouterr().out == first


def test_a_checkpoint_stands_beside_what_it_was_healed_to(healing, tmp_path, capsys):
    from tests.shipped import DISTILLED

    setting = healing.Setting("digits", SMALL, start=str(DISTILLED))
    healing.measure(healing.Lab(tmp_path, None, 12), {"masked": setting}, ["off"], [0])
    head, _, before, after = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    assert before.startswith("| masked | before |")
    assert after.startswith("| masked | off |")
    assert head.count("|") == before.count("|") == after.count("|")


def test_a_run_may_be_under_one_treatment(healing, tmp_path, capsys):
    import json

    settings = {"small": healing.Setting("digits", SMALL)}
    healing.measure(healing.Lab(tmp_path, None, 12), settings, ["off", "larger beta", "noise"], [0])
    capsys.readouterr()

    def logged(arm):
        return json.loads((tmp_path / f"small-{arm}-0" / "log.jsonl").read_text().splitlines()[0])

    assert logged("off")["treatment"] == ""
    assert logged("off")["healing"] == 0
    for arm in ("larger beta", "noise"):
        assert logged(arm)["treatment"] == arm
        assert logged(arm)["healing"] > 0
    assert len({logged(arm)["loss"] for arm in ("off", "larger beta", "noise")}) == 3


def test_attacks_in_turn_give_the_worst_case(healing):
    from robaudit.inputs import load_classifier, load_images
    from robaudit.plan import AuditPlan, Budget, ThreatModel
    from tests.shipped import DISTILLED

    images = load_images("digits", limit=40, seed=0)
    plan = AuditPlan(
        ThreatModel("Linf", 0.1), budget=Budget(apgd_steps=5, fab_steps=3, targets=2, square_queries=50)
    )
    found = healing.attack(load_classifier(str(DISTILLED), images=images), images, plan)
    assert 100 >= found["clean"] >= found["pgd10"] > found["square"] >= found["autoattack"] >= 0


def test_the_interval_is_students(healing):
    assert healing.spread([3.0]) == "3.0"
    half = 4.302653 * 1.0 / math.sqrt(3)
    assert healing.spread([1.0, 2.0, 3.0]) == f"2.0 ± {half:.1f}"


def test_images_are_made_small_and_are_other_data(healing, tmp_path):
    setting = healing.Setting("digits", side=4)
    small, whole = (
        healing.Lab(tmp_path, None, 10).load(item, "test", 0, 10)
        for item in (setting, healing.Setting("digits"))
    )
    assert small.shape == (1, 4, 4)
    assert small.sha256 != whole.sha256
    assert abs(float(small.float().mean() - whole.float().mean())) < 0.01
