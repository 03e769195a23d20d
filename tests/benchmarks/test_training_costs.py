"""What training costs beside its steps: each of the three tables, in small."""

from argparse import Namespace

import pytest

from tests.shipped import ADVERSARIAL


@pytest.fixture
def costs():
    import training_costs

    return training_costs


def test_the_measure_of_robust_is_told_as_a_share_of_an_epoch(costs, capsys):
    costs.robust(Namespace(
        dataset="digits", data_dir=None, start=str(ADVERSARIAL), eps=0.1, batch=50, validation=60, steps=2
    ))  # fmt: skip
    head, most, best = capsys.readouterr().out.splitlines()
    assert "an epoch of TRADES takes" in head
    assert most.count("%") == best.count("%") == 1
    assert "of 60" in best


def test_runs_with_and_without_the_healer_are_compared_by_their_bits(costs, tmp_path, monkeypatch, capsys):
    from healing import Setting

    small = Setting("digits", {"epochs": 1, "limit": 100, "validation": 20, "batch_size": 50, "steps": 1})
    monkeypatch.setitem(costs.SETTINGS, "small", small)
    options = Namespace(out=tmp_path, data_dir=None, settings=["small"], rounds=1)
    costs.healer(options)
    said = capsys.readouterr().out
    assert "the same weights" in said
    costs.healer(options)
    assert capsys.readouterr().out == said, "what is there is not made again"
