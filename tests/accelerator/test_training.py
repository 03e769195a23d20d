"""Training on an accelerator gives what it gives on the CPU, whatever starts the passes."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from robaudit.errors import RobauditError
from robaudit.fast.graphs import GRAPHS
from robaudit.inputs import load_classifier, load_images
from robaudit.training import Inner, MaskingMonitor, TrainSettings, train
from tests.accelerator.pretend import DEVICE, NAME, PretendGraph, pretending
from tests.models import cnn

TINY = TrainSettings(
    "digits", Inner(0.1, 0.05, 3), epochs=2, batch_size=50, lr=0.02, validation=40, limit=200, confirm=0,
    arch="sequential:conv8k3s2p1 bn relu conv8k3p1 relu flatten fcK", augment="crop-flip", batch_metrics=2,
)  # fmt: skip
#: What two ways of rounding may do to numbers that training amplifies.
CLOSE = {"rtol": 2e-2, "atol": 2e-3}


@pytest.fixture(scope="module")
def images():
    return load_images("digits", split="train", limit=240, seed=0)


def same_weights(one, other):
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.allclose(a[name], b[name], **CLOSE) for name in a)


@pytest.mark.parametrize("execution", ["eager", "graphs"])
@pytest.mark.parametrize("changes", [
    {}, {"method": "trades-ce"}, {"method": "pgd-at"}, {"method": "mart", "awp": 0.005},
    {"heal": "paper", "threshold": 1e-6}, {"heal": "auto"},
], ids=str)  # fmt: skip
def test_every_method_gives_what_it_gives_on_the_cpu(images, tmp_path, monkeypatch, changes, execution):
    if execution == "graphs":
        monkeypatch.setitem(GRAPHS, NAME, PretendGraph)
    settings = replace(TINY, **changes)
    expected = train(settings, images, tmp_path / "cpu")
    with pretending(float64=execution == "eager"):
        found = train(replace(settings, device=NAME, execution=execution), images, tmp_path / "there")
    assert same_weights(tmp_path / "there" / "last.safetensors", tmp_path / "cpu" / "last.safetensors")
    for row, wanted in zip(found, expected, strict=True):
        for name in ("clean", "pgd10", "train_clean", "train_adv"):
            assert row[name] == pytest.approx(wanted[name], abs=0.03), name
        for name in ("fosc_normalised", "sgcs", "loss", "w_grad_norm", "kl_norm"):
            assert row[name] == pytest.approx(wanted[name], rel=0.05, abs=5e-3), name
        assert (row["healing"], row["masked"]) == (wanted["healing"], wanted["masked"])


def test_a_step_waits_for_the_device_once(images):
    from robaudit.ranks import Ranks
    from robaudit.training.data import TrainData
    from robaudit.training.network import Shape, new_network
    from robaudit.training.sgd import SGD
    from robaudit.training.stepping import Stepper, StepSpec

    settings = replace(TINY, device=NAME)
    with pretending() as machine:
        network = new_network(settings, Shape(10, (1, 8, 8)))
        data = TrainData(images, DEVICE, "crop-flip", 0)
        order = data.order(0)
        stepper = Stepper(network, SGD(network, 0.9, 5e-4), settings, Ranks())
        for number in range(2):
            machine.waits = 0
            batch = data.batch(order[:50], 0)
            stepper.step(batch, StepSpec(number, 50, 0.1, 6.0, "trades"))
        assert machine.waits == 1, "the second step; the first looks for the fastest form"


def test_a_run_is_resumed_on_another_device_than_it_was_saved_on(images, tmp_path):
    expected = train(replace(TINY, epochs=4), images, tmp_path / "whole")
    train(replace(TINY, epochs=4), images, tmp_path / "part", progress=_StopAfter(2))
    with pretending():
        train(replace(TINY, epochs=4, device=NAME), images, tmp_path / "part", progress=_StopAfter(3))
    found = train(replace(TINY, epochs=4), images, tmp_path / "part")
    assert [row["epoch"] for row in found] == [1, 2, 3, 4]
    assert found[-1]["clean"] == pytest.approx(expected[-1]["clean"], abs=0.05)
    assert same_weights(tmp_path / "part" / "last.safetensors", tmp_path / "whole" / "last.safetensors")


class _StopAfter:
    """Ends a run after some epochs, as Ctrl-C does."""

    def __init__(self, epochs):
        self.epochs = epochs

    def begin_epoch(self, epoch, epochs, steps, done):
        if epoch > self.epochs:
            raise KeyboardInterrupt

    def step(self, result):
        pass

    def end_epoch(self, row):
        pass

    def note(self, text):
        pass


@pytest.fixture(autouse=True)
def _interrupts(monkeypatch):
    """`_StopAfter` ends `train` quietly."""
    whole = train

    def until_interrupted(*arguments, **named):
        try:
            return whole(*arguments, **named)
        except KeyboardInterrupt:
            return []

    monkeypatch.setitem(globals(), "train", until_interrupted)


def test_what_was_trained_there_loads_here(images, tmp_path):
    with pretending():
        train(replace(TINY, device=NAME), images, tmp_path / "there")
    classifier = load_classifier(str(tmp_path / "there" / "best.safetensors"))
    assert {parameter.device.type for parameter in classifier.parameters()} == {"cpu"}


def test_the_monitor(images):
    x, y = images.float()[:30], images.labels[:30]
    expected = MaskingMonitor(cnn(), x, y, 0.1).check()
    for float64 in (True, False):
        with pretending(float64=float64):
            found = MaskingMonitor(cnn().to(NAME), x, y, 0.1).check()
        assert found.pgd10 == expected.pgd10
        assert found.fosc_normalised == pytest.approx(expected.fosc_normalised, rel=1e-3)
        assert found.sgcs == pytest.approx(expected.sgcs, rel=1e-3)


def test_too_large_a_batch_and_a_failing_device_are_one_line_each(images, tmp_path):
    settings = replace(TINY, device=NAME)
    with pretending(memory=20_000), pytest.raises(RobauditError, match="batch-size 50: memory does not hold"):
        train(settings, images, tmp_path / "small")
    with pretending() as machine:
        train(settings, images, tmp_path / "whole")
        operations = machine.operations
    with pretending(fails_after=operations * 3 // 4), pytest.raises(RobauditError, match="--device cpu"):
        train(settings, images, tmp_path / "fails")
    assert len(train(TINY, images, tmp_path / "fails")) == 2


@pytest.mark.parametrize("method", ["trades", "mart"])
def test_the_outer_passes_are_recorded_too(images, monkeypatch, method):
    from robaudit.ranks import Ranks
    from robaudit.training.data import TrainData
    from robaudit.training.network import Shape, new_network
    from robaudit.training.sgd import SGD
    from robaudit.training.stepping import Stepper, StepSpec

    monkeypatch.setitem(GRAPHS, NAME, PretendGraph)

    def trained(execution):
        settings = replace(TINY, device=NAME, execution=execution, method=method)
        with pretending():
            network = new_network(settings, Shape(10, (1, 8, 8)))
            data = TrainData(images, DEVICE, "crop-flip", 0)
            stepper = Stepper(network, SGD(network, 0.9, 5e-4), settings, Ranks())
            order = data.order(0)
            # A full batch, another beta, and a smaller last batch.
            for number, (rows, beta) in enumerate(
                [(order[:50], 6.0), (order[50:100], 1.0), (order[100:120], 1.0)]
            ):
                batch = data.batch(rows, 0)
                stepper.step(batch, StepSpec(number, len(rows), 0.1, beta, method))
            state = {name: tensor.cpu().clone() for name, tensor in network.state_dict().items()}
        return stepper, state

    eager, expected = trained("eager")
    recorded, found = trained("graphs")
    assert eager._descent is None
    assert recorded._descent is not None and recorded._descent.given_up == ""
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, **CLOSE), name
