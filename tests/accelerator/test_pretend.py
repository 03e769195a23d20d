"""The pretend device is as strict as it says."""

import pytest
import torch

from tests.accelerator.pretend import DEVICE, MACHINE, PretendGraph, pretending


def test_it_is_there_only_while_it_is_pretended():
    assert torch.accelerator.current_accelerator(check_available=True) is None
    with pretending():
        assert torch.accelerator.current_accelerator(check_available=True).type == "pretend"
        assert not torch.rand(2).to(DEVICE).is_cuda
    assert torch.accelerator.current_accelerator(check_available=True) is None


def test_tensors_of_two_devices_do_not_mix():
    with pretending():
        x = torch.ones(3, device=DEVICE)
        assert (x * torch.tensor(2.0)).tolist() == [2, 2, 2]
        assert x[torch.tensor([0, 1])].cpu().tolist() == [1, 1]
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match="same device"):
            torch.ones(3)[x.long()]
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()


def test_waiting_is_counted():
    with pretending() as machine:
        x = torch.arange(4, device=DEVICE).float()
        y = torch.where(x > 1, x * 2, x).sum()
        assert machine.waits == 0
        assert float(y) == 11
        assert machine.waits == 1
        assert len(x[x > 1]) == 2
        assert machine.waits == 2
        x.cpu()
        assert machine.waits == 3


def test_memory_float64_and_failure():
    with pretending(memory=100, float64=False):
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(1000, device=DEVICE)
        with pytest.raises(TypeError):
            torch.zeros(3, device=DEVICE).double()
    with pretending(fails_after=1):
        x = torch.zeros(3, device=DEVICE)
        with pytest.raises(torch.AcceleratorError):
            x + 1
    assert not MACHINE.on


def test_its_generator_is_its_own():
    with pretending():
        torch.manual_seed(3)
        on_cpu = torch.rand(2)
        here = torch.rand(2, device=DEVICE)
        assert torch.equal(here.cpu(), on_cpu), "both were seeded alike"
        state = torch.get_rng_state()
        torch.rand(2, device=DEVICE)
        assert torch.equal(torch.get_rng_state(), state)


def test_a_graph_does_its_operations_again_on_the_same_memory():
    with pretending():
        x = torch.ones(2, 3, device=DEVICE)
        graph = PretendGraph()
        with graph.recording():
            z = (x.t() * 2).relu_() + 1
        x.fill_(-5)
        assert z.cpu().tolist() == [[3, 3]] * 3
        graph.replay()
        assert z.cpu().tolist() == [[1, 1]] * 3
        with pytest.raises(RuntimeError, match="not permitted"), PretendGraph().recording():
            float(x.sum())
