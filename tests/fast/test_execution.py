"""Passes that are replayed or compiled give what the plain ones give."""

import shutil

import pytest
import torch
from torch import nn

from robaudit.attacks.objectives import cross_entropy, evaluate, forward
from robaudit.errors import RobauditError
from robaudit.fast import Replayed, execute, search_model
from robaudit.fast.execution import padded_size
from robaudit.fast.graphs import GRAPHS
from tests.accelerator.pretend import DEVICE, NAME, PretendGraph, pretending
from tests.models import Wrapped, cnn

CPU = torch.device("cpu")


def test_few_sizes_are_recorded_and_none_is_far_above_what_is_asked():
    sizes = sorted({padded_size(n) for n in range(1, 2049)})
    assert sizes[:9] == [1, 2, 3, 4, 6, 8, 12, 16, 24]
    assert all(n <= padded_size(n) < 1.5 * n for n in range(1, 2049))
    assert len(sizes) == 22


@pytest.mark.parametrize("any_size", [True, False])
def test_replayed_passes_give_the_models_logits_and_gradients(any_size):
    model = cnn(seed=1)
    with pretending():
        there = model.to(DEVICE)
        replayed = Replayed(there, PretendGraph, any_size=any_size)
        for size in (5, 6, 1, 5):
            x = torch.rand(size, 1, 8, 8).to(DEVICE)
            y = torch.zeros(size, dtype=torch.int64).to(DEVICE)
            found, expected = (evaluate(f, x, lambda z, y=y: cross_entropy(z, y)) for f in (replayed, there))
            assert torch.allclose(found.logits.cpu(), expected.logits.cpu(), atol=1e-6)
            assert torch.allclose(found.gradient.cpu(), expected.gradient.cpu(), atol=1e-6)
            assert torch.allclose(forward(replayed, x).cpu(), expected.logits.cpu(), atol=1e-6)
        assert replayed.given_up == ""
        assert replayed.recorded == (4 if any_size else 6)


def test_logits_are_not_overwritten_by_the_next_pass():
    with pretending():
        replayed = Replayed(cnn().to(DEVICE), PretendGraph)
        x = torch.rand(4, 1, 8, 8).to(DEVICE)
        first = forward(replayed, x)
        before = first.cpu()
        forward(replayed, 1 - x)
        assert torch.equal(first.cpu(), before)


def test_a_derivative_after_another_pass_is_refused_rather_than_wrong():
    with pretending():
        replayed = Replayed(cnn().to(DEVICE), PretendGraph)
        x = torch.rand(4, 1, 8, 8).to(DEVICE).requires_grad_()
        forward(replayed, x)
        replayed(x).sum().backward()
        logits = replayed(x)
        forward(replayed, x)
        with pytest.raises(RuntimeError, match="another pass"):
            logits.sum().backward()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (lambda x, calls: x.flatten(1) * float(x.sum() > 0), "not permitted"),
        (lambda x, calls: x.flatten(1) * (next(calls) + 1), "differ"),
    ],
)
def test_what_cannot_be_replayed_is_called_as_it_is(what, reason):
    with pretending():
        calls = iter(range(1000))
        replayed = Replayed(Wrapped(lambda x: what(x, calls)), PretendGraph)
        x = torch.rand(3, 1, 8, 8).to(DEVICE)
        forward(replayed, x)
        assert reason in replayed.given_up


def test_memory_that_runs_out_while_recording_is_told_to_the_engine():
    with pretending(memory=20_000):
        replayed = Replayed(cnn().to(DEVICE), PretendGraph)
        with pytest.raises(torch.OutOfMemoryError):
            forward(replayed, torch.rand(60, 1, 8, 8).to(DEVICE))
        assert replayed.given_up == ""
        assert forward(replayed, torch.rand(4, 1, 8, 8).to(DEVICE)).shape == (4, 10)


def test_a_recorded_pass_sees_weights_that_change(monkeypatch):
    """As the trainer's do, whose fused copies are refreshed in place."""
    from robaudit.fast import live_form

    monkeypatch.setitem(GRAPHS, NAME, PretendGraph)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    network.eval().requires_grad_(False)
    with pretending():
        network.to(DEVICE)
        x = torch.rand(5, 1, 8, 8).to(DEVICE)
        live = live_form(network, x)
        passes = execute(live.graph, DEVICE, "graphs", any_size=False)
        for _ in range(3):
            for parameter in network.parameters():
                parameter.mul_(1.3).add_(0.01)
            network[1].running_mean.add_(0.1)
            live.refresh()
            assert torch.allclose(passes(x).cpu(), network(x).cpu(), atol=1e-4)
        assert passes.recorded == 1


def test_the_environment_may_say_how_passes_are_started(monkeypatch):
    monkeypatch.setitem(GRAPHS, NAME, PretendGraph)
    assert isinstance(execute(cnn(), DEVICE), Replayed)
    monkeypatch.setenv("ROBAUDIT_EXECUTION", "eager")
    model = cnn()
    assert execute(model, DEVICE) is model
    assert isinstance(execute(model, DEVICE, "graphs"), Replayed)
    monkeypatch.setenv("ROBAUDIT_EXECUTION", "fast")
    with pytest.raises(RobauditError, match="execution 'fast' is not known"):
        execute(model, DEVICE)


def test_what_a_device_cannot_do_is_said():
    with pytest.raises(RobauditError, match="cpu cannot record graphs"):
        execute(cnn(), CPU, "graphs")
    with pytest.raises(RobauditError, match="execution 'fast' is not known; use auto, eager"):
        execute(cnn(), CPU, "fast")


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no compiler")
def test_compiled_passes_give_the_eager_outcomes():
    """`torch.compile` by its usual compiler, on the CPU; on an accelerator the same graph is compiled."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    x, y = torch.rand(6, 1, 8, 8), torch.zeros(6, dtype=torch.int64)
    forms = [search_model(model, CPU, "fp32", x, execution) for execution in ("eager", "compile")]
    expected, found = (evaluate(form, x, lambda z: cross_entropy(z, y)) for form in forms)
    assert torch.allclose(found.logits, expected.logits, atol=1e-5)
    assert torch.allclose(found.gradient, expected.gradient, atol=1e-5)
