"""Weights and the states of runs in few bytes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.errors import RobauditError
from robaudit.inputs import load_images
from robaudit.training import Inner, TrainSettings, train

ARCH = "sequential:conv4k3s2p1 relu flatten fcK"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(width=32), min_size=0, max_size=40))
def test_every_float_comes_back_bit_for_bit(values):
    from gpu_stages import weights

    tensor = torch.tensor(values, dtype=torch.float32)
    found, metadata = weights.unpack(weights.pack({"a": tensor}, half=False, metadata={"k": "v"}))
    assert metadata == {"k": "v"}
    assert found["a"].numpy().tobytes() == tensor.numpy().tobytes()


def test_half_rounds_matrices_and_keeps_vectors():
    from gpu_stages import weights

    torch.manual_seed(0)
    tensors = {
        "conv": torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last),
        "bias": torch.randn(8),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }
    found, _ = weights.unpack(weights.pack(tensors, half=True))
    assert torch.equal(found["conv"], tensors["conv"].bfloat16().float())
    assert all(torch.equal(found[name], tensors[name]) for name in ("bias", "count", "empty"))


def test_a_resnet18_and_its_momentum_fit_a_way_back_of_60_mb():
    from gpu_stages import weights

    torch.manual_seed(0)
    shapes = {"conv": (512, 512, 3, 3)}
    drawn = {name: torch.randn(shape) * torch.rand(shape[0], 1, 1, 1) for name, shape in shapes.items()}
    count = sum(tensor.numel() for tensor in drawn.values())
    exact, half = (len(weights.pack(drawn, half=half)) / count for half in (False, True))
    assert 11_220_132 * (exact + half) < 58e6


def test_damaged_bytes_are_one_line():
    from gpu_stages import states, weights

    data = weights.pack({"a": torch.randn(4, 4)}, half=False)
    for bad in (b"", data[:20], data[:-9], b"x" + data[1:]):
        with pytest.raises(RobauditError, match="take the file again"):
            weights.unpack(bad)
    with pytest.raises(RobauditError, match="is damaged"):
        states.unpack_state(b"PK", None)


@pytest.mark.parametrize("heal", ["off", "auto"])
def test_a_run_goes_on_from_its_packed_state(tmp_path, heal):
    """The weights are those that it had, the momentum to 16 bits, and so are the epochs after it."""
    from gpu_stages import states

    images = load_images("digits", split="train", limit=150)
    whole = TrainSettings(
        "digits",
        Inner(0.1, 0.025, 2),
        epochs=3,
        batch_size=25,
        lr=0.05,
        arch=ARCH,
        validation=20,
        confirm=0,
        heal=heal,
    )
    rows = train(whole, images, tmp_path / "whole")

    class Stop(Exception):  # noqa: N818
        pass

    class AfterTwo:
        def begin_epoch(self, epoch, *_):
            if epoch == 3:
                raise Stop

        def __getattr__(self, name):
            return lambda *_: None

    with pytest.raises(Stop):
        train(whole, images, tmp_path / "first", progress=AfterTwo())
    data = states.pack_state(tmp_path / "first", exact=True)
    states.unpack_state(data, tmp_path / "second", best_kept=True)
    before, after = (
        torch.load(tmp_path / name / "resume.pt", weights_only=True) for name in ("first", "second")
    )
    assert all(torch.equal(after["network"][name], before["network"][name]) for name in before["network"])
    assert after["selection"]["epoch"] == before["selection"]["epoch"]
    assert torch.equal(after["selection"]["standing"]["robust"], before["selection"]["standing"]["robust"])
    assert (after["healthy"] is None) == (before["healthy"] is None)
    for name, value in before.items():
        if name not in ("network", "optimiser", "healthy", "selection"):
            assert after[name] == value, name
    gone_on = train(whole, images, tmp_path / "second")
    for one, other in zip(rows, gone_on, strict=True):
        assert one["epoch"] == other["epoch"]
        assert other["loss"] == pytest.approx(one["loss"], rel=2e-2)
    assert np.isclose(gone_on[1]["loss"], rows[1]["loss"], rtol=0)
