"""Masking that is put into a run by hand is reported in the same epoch, and the healer ends it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier, load_images
from robaudit.ranks import Ranks
from robaudit.training import Inner, MaskingMonitor, Silent, TrainSettings
from robaudit.training.rescaling import shrink_logits
from robaudit.training.run import Run
from tests.models import cnn
from tests.shipped import ADVERSARIAL, DISTILLED

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = TrainSettings(
    "digits", Inner(0.1, 0.025, 4), epochs=6, batch_size=50, lr=0.05, validation=60, limit=400, confirm=0,
    arch="sequential:conv8k3s2p1 relu flatten fcK",
)  # fmt: skip


@pytest.fixture(scope="module")
def held():
    return load_images("digits", limit=120, seed=0)


@pytest.mark.parametrize(("path", "masked"), [(ADVERSARIAL, False), (DISTILLED, True)])
def test_the_shipped_models_are_told_apart_at_the_first_look(path, masked, held):
    model = load_classifier(str(path), images=held)
    found = MaskingMonitor(model, held.float(), held.labels, 0.1).check()
    assert found.masked == masked
    assert bool(found.reason) == masked
    json.dumps(found.to_dict())


def test_the_model_and_the_random_state_are_left_alone(held):
    model = cnn().requires_grad_(True).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    monitor = MaskingMonitor(model, held.float(), held.labels, 0.1, examples=20)
    first, second = monitor.check(), monitor.check()
    assert replace(first, seconds=0) == replace(second, seconds=0)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(monitor.history) == 2


def test_bad_inputs_are_refused(held):
    x, y = held.float(), held.labels
    for arguments, message in [
        ((x * 255, y, 0.1), "leaves"),
        ((x, y[:3], 0.1), "give"),
        ((x, y, 8.0), "8/255"),
    ]:
        with pytest.raises(RobauditError, match=message):
            MaskingMonitor(cnn(), *arguments)


def test_huge_logits_are_tamed_without_changing_a_prediction(held):
    model = load_classifier(str(DISTILLED), images=held)
    before = model(held.float())
    factor = shrink_logits(model.network, held.float())
    after = model(held.float())
    assert factor < 0.5
    assert torch.equal(before.argmax(1), after.argmax(1))
    assert torch.allclose(after, before * factor, rtol=1e-4, atol=1e-3)
    assert shrink_logits(model.network, held.float()) == 1.0


class Injected(Silent):
    """At the end of epoch 4 the last layer is scaled up until the softmax saturates."""

    def __init__(self):
        self.epoch, self.left, self.notes, self.done = 0, 0, [], False

    def begin_epoch(self, epoch, epochs, steps, done):
        self.epoch, self.left = epoch, steps - done

    def step(self, result):
        self.left -= 1
        if self.epoch == 4 and not self.left and not self.done:
            for parameter in list(self.run.network.parameters())[-2:]:
                parameter.data *= 1e4
            self.done = True

    def note(self, text):
        self.notes.append(text)


def run(folder, heal):
    watched = Injected()
    settings = replace(SETTINGS, heal=heal)
    watched.run = Run(
        settings, load_images("digits", split="train", limit=460, seed=0), folder, Ranks(), None, watched
    )
    return watched.run.run(), watched.notes


def test_masking_is_reported_in_its_epoch(tmp_path):
    rows, notes = run(tmp_path, "off")
    assert next(row["epoch"] for row in rows if row["masked"]) == 4
    assert any("epoch 4: became masked" in note for note in notes)
    assert rows[3]["gap"] > 0.3 > rows[2]["gap"]


def test_the_healer_tries_treatments_on_the_same_draws_and_keeps_the_most_robust(tmp_path):
    rows, notes = run(tmp_path, "auto")
    plain, _ = run(tmp_path / "off", "off")
    assert [row["pgd10"] for row in rows[:4]] == [row["pgd10"] for row in plain[:4]], (
        "calm epochs are not touched"
    )
    assert [row["epoch"] for row in rows if row["masked"]] == [4]
    assert rows[3]["sgcs"] < 0.35 < rows[4]["sgcs"]
    tried = rows[4]["tried"]
    assert set(tried) >= {"back", "noise", "cross-entropy inside", "larger beta", "smaller rate"}
    assert rows[4]["robust"] == max(tried.values())
    assert rows[4]["rolled_back"]
    assert rows[4]["treatment"] in tried
    assert any(f"epoch 5: continues with {rows[4]['treatment']}" in note for note in notes)
    assert rows[-1]["robust"] > plain[-1]["robust"]
    best = max(rows, key=lambda row: row["robust"] * (row["robust_examples"] == SETTINGS.validation))
    assert rows[-1]["best"] == best["epoch"]
    x = load_images("digits", limit=120, seed=0)
    model = load_classifier(str(tmp_path / "last.safetensors"), images=x)
    assert not MaskingMonitor(model, x.float(), x.labels, 0.1).check().masked


def test_a_check_costs_less_than_a_twentieth_of_an_epoch_of_the_papers_size():
    """Counted in network passes over 50,000 examples: 1 forward and 2 backward a plain step; a check makes 11 of each
    on its 256 examples, and one forward more."""
    images = load_images("digits", limit=256, seed=0)
    calls = []
    model = cnn()
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    MaskingMonitor(model, images.float(), images.labels, 0.1).check()
    handle.remove()
    assert len(calls) == 12
    assert 256 * (len(calls) + 11 * 1) < 0.05 * 50_000 * 3


@pytest.mark.heavy
def test_the_pytorch_example_runs():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "monitor_pytorch.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("PGD-10") == 10
