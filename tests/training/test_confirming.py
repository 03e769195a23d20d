"""What the kept network is worth: AutoAttack, less the luck of the choice; and what a run started from is worth."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from robaudit.inputs import load_classifier, load_images
from robaudit.training import Inner, Silent, TrainSettings, train
from robaudit.training.confirming import LEAST, Confirmed, examples_for
from robaudit.training.retreat import EPOCHS_IN_A_ROW, RATE_FACTOR
from robaudit.training.selection import Selection, optimism
from tests.shipped import ADVERSARIAL
from tests.training.test_run import TINY, AbortError, StopAfter, bits
from tests.training.test_worst_case import a_look


def test_the_luck_of_the_best_is_about_what_it_is_in_simulation():
    """Networks of known worth on examples of known difficulty; where one is clearly best there is hardly any luck."""
    draws = np.random.default_rng(0)
    for spread, least, most in ((0.0, 0.6, 1.2), (0.8, 0.0, 3.0)):
        true, estimated = [], []
        for _ in range(60):
            strengths = spread * draws.standard_normal(16)
            difficulty, chance = draws.standard_normal(200), 0.3 * draws.standard_normal((16, 200))
            outcomes = torch.as_tensor(strengths[:, None] + difficulty + chance > 0.7)
            fresh = (
                strengths[:, None] + draws.standard_normal(4000) + 0.3 * draws.standard_normal((16, 4000))
                > 0.7
            )
            means = outcomes.double().mean(1)
            true.append(float(means.max()) - fresh[int(means.argmax())].mean())
            estimated.append(optimism(list(outcomes), 1))
        assert (
            least <= np.mean(estimated) / np.mean(true) <= most
            or abs(np.mean(estimated) - np.mean(true)) < 0.005
        )
    assert optimism([outcomes[0]], 1) == 0.0
    assert optimism(list(outcomes), 1) == optimism(list(outcomes), 1)


def test_luck_is_of_those_that_might_have_been_kept_by_as_many_passes():
    selection = Selection("robust")
    for text in ("1100", "0110", "0011"):
        selection.meet(a_look(text))
    assert selection.luck(0) == 0.0, "nothing was kept"
    selection.take(a_look("1100"), 1)
    known = selection.luck(0)
    assert 0 < known < 0.5
    selection.meet(a_look("1111", few="1111"))
    assert selection.luck(0) == known
    usual = Selection("pgd10")
    usual.take(a_look("1100"), 1)
    assert usual.luck(0) == 0.0


def test_the_number_is_less_by_luck_and_never_below_nothing():
    row = Confirmed(left=30, examples=100, luck=0.02, when_chosen=0.35, chosen_by=128).row()
    assert row["robust"] == pytest.approx(0.28)
    assert row["robust_low"] < 0.21
    assert row["robust_high"] > 0.36
    assert Confirmed(left=1, examples=100, luck=0.05, when_chosen=0.1, chosen_by=100).row()["robust"] == 0.0


def test_it_costs_a_part_of_the_run_or_little():
    usual = TrainSettings("cifar10")
    assert examples_for(usual, 1000, 49_000) == 1000
    assert examples_for(replace(usual, epochs=3), 1000, 49_000) == LEAST
    assert examples_for(usual, 150, 49_000) == 150
    assert examples_for(replace(usual, confirm=300), 1000, 49_000) == 300
    assert examples_for(replace(usual, confirm=0), 1000, 49_000) == 0


@pytest.fixture(scope="module")
def images():
    return load_images("digits", split="train", limit=240, seed=0)


@pytest.fixture(scope="module")
def shipped(images):
    return load_classifier(str(ADVERSARIAL), images=images, force=True)


def begun(start, **changes):
    """Settings of a run from a checkpoint."""
    given = {
        "arch": start.info.architecture,
        "start_from": start.info.digest,
        "batch_metrics": 0,
        "augment": "none",
    }
    return replace(TINY, inner=Inner(0.1, 0.05, 1), **given | changes)


class Notes(Silent):
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def test_a_network_that_lost_most_of_what_the_start_knew_is_not_better():
    """A LeNet of CIFAR-10 went from 54.6 % clean to a constant answer, which is 10 % robust."""
    selection = Selection("robust")
    selection.begin_with(a_look("0001"))  # of clean accuracy 0.9
    better = a_look("0111")
    assert selection.is_best(better)
    assert not selection.is_best(replace(better, at_chance=True))
    assert not selection.is_best(replace(better, measured=replace(better.measured, clean=0.4)))
    fresh = Selection("robust")
    fresh.take(replace(a_look("0111"), at_chance=True), 1)
    fresh.meet(a_look("0111"))
    assert fresh.is_best(a_look("0001"))
    fresh.take(a_look("0001"), 2)
    assert not fresh.is_best(replace(a_look("1111"), at_chance=True))
    assert fresh.rivals == []


def test_where_no_epoch_is_better_the_start_is_kept_and_its_number_stands_up(images, shipped, tmp_path):
    notes = Notes()
    settings = begun(shipped, epochs=1, lr=2.0, clip=0.0, confirm=30)
    rows = train(settings, images, tmp_path, start=shipped, progress=notes)
    assert rows[-1]["best"] == 0
    kept = load_classifier(str(tmp_path / "best.safetensors"), force=True)
    x = images.float()
    assert torch.equal(kept(x).argmax(1), shipped(x).argmax(1))
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        written = file.metadata()
    found = json.loads((tmp_path / "best.json").read_text())
    assert (written["epoch"], written["robust_examples"]) == ("0", "30")
    assert written["robust"] == str(found["robust"])
    assert 0 < found["robust"] <= found["robust_when_chosen"] <= found["pgd10"] + 1e-9
    assert any("begins with clean" in text for text in notes.texts)
    before = (tmp_path / "best.safetensors").read_bytes()
    again = Notes()
    train(settings, images, tmp_path, start=shipped, progress=again)
    assert (tmp_path / "best.safetensors").read_bytes() == before
    assert not any("AutoAttack" in text for text in again.texts)
    (tmp_path / "best.json").write_text("{")
    train(settings, images, tmp_path, start=shipped, progress=again)
    assert json.loads((tmp_path / "best.json").read_text()) == found


def test_a_rate_that_wrecks_the_start_is_made_smaller_and_the_run_resumes_so(
    images, shipped, tmp_path, monkeypatch
):
    """Every epoch counts as at chance here, the start does not."""
    notes = Notes()
    settings = begun(shipped, epochs=EPOCHS_IN_A_ROW + 1)

    def trained(folder, progress):
        chance = iter([not (folder / "resume.pt").exists()] + [False] * 10)
        monkeypatch.setattr("robaudit.training.validation.at_chance", lambda *_: not next(chance))
        return train(settings, images, folder, start=shipped, progress=progress)

    rows = trained(tmp_path / "whole", notes)
    rates = [settings.lr] * EPOCHS_IN_A_ROW + [settings.lr * RATE_FACTOR]
    assert [row["lr"] for row in rows] == pytest.approx(rates)
    assert any("continues from the start's weights at 0.3 times the rate" in text for text in notes.texts)
    assert rows[-1]["best"] == 0
    with pytest.raises(AbortError):
        trained(tmp_path / "parts", StopAfter(4 * EPOCHS_IN_A_ROW + 2))
    assert [row["lr"] for row in trained(tmp_path / "parts", notes)] == pytest.approx(rates)
    assert bits(tmp_path / "parts" / "last.safetensors") == bits(tmp_path / "whole" / "last.safetensors")
