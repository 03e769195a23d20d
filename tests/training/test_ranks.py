"""Two processes under torchrun make the steps of one."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from robaudit.inputs import load_images
from robaudit.training import Inner, TrainSettings, train

SETTINGS = TrainSettings(
    "digits", Inner(0.1, 0.05, 2), epochs=2, batch_size=51, lr=0.05, validation=40, limit=200, confirm=0,
    arch="sequential:conv8k3s2p1 bn relu flatten fcK", batch_metrics=3, awp=0.005,
)  # fmt: skip
_CODE = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from robaudit.inputs import load_images
from robaudit.training import train
from tests.training.test_ranks import SETTINGS
train(SETTINGS, load_images("digits", split="train", limit=240, seed=0), Path(sys.argv[1]))
"""


def start(world, folder):
    script = folder / "run.py"
    script.write_text(_CODE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [*command, str(script), str(folder / "run")], capture_output=True, text=True, env=env, check=False
    )


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.heavy)])
def test_ranks_make_the_steps_of_one(world, tmp_path):
    """Batch norm, AWP, Appendix G's metrics and an odd batch size included; only rounding may differ."""
    done = start(world, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    images = load_images("digits", split="train", limit=240, seed=0)
    alone = train(SETTINGS, images, tmp_path / "alone")
    together = torch.load(tmp_path / "run" / "resume.pt", weights_only=True)["rows"]
    for one, many in zip(alone, together, strict=True):
        assert one["loss"] == pytest.approx(many["loss"], rel=1e-3)
        assert one["train_clean"] == pytest.approx(many["train_clean"], abs=0.02)
        assert one["w_grad_norm"] == pytest.approx(many["w_grad_norm"], rel=1e-2)
    state, other = (load_file(tmp_path / name / "last.safetensors") for name in ("alone", "run"))
    assert state.keys() == other.keys()
    for name in state:
        assert torch.allclose(state[name].float(), other[name].float(), atol=5e-3), name


def test_whole_batch_norm_is_torchs_where_one_rank_has_it_all(monkeypatch):
    from robaudit.training import synchronising as ranks

    monkeypatch.setattr(ranks.dist, "all_reduce", lambda tensor: None)
    x = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    z = x.detach().clone().requires_grad_()
    theirs, ours = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    network = torch.nn.Sequential(ours)
    assert ranks.with_whole_batch_norm(network, ranks.Ranks()) is network
    assert type(ours) is torch.nn.BatchNorm2d
    ranks.with_whole_batch_norm(network, ranks.Ranks(0, 2))
    for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
        other.data = one.data.uniform_(0.5, 2, generator=torch.Generator().manual_seed(1)).clone()
    expected, found = theirs(x), ours(z)
    assert torch.allclose(found, expected, atol=1e-5)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    (expected * weight).sum().backward()
    (found * weight).sum().backward()
    assert torch.allclose(z.grad, x.grad, atol=1e-5)
    assert torch.allclose(ours.running_var, theirs.running_var, atol=1e-5)
    assert torch.allclose(ours.running_mean, theirs.running_mean, atol=1e-5)
    assert torch.equal(theirs.num_batches_tracked, ours.num_batches_tracked)
    theirs.eval(), ours.eval()
    assert torch.allclose(ours(z), theirs(x), atol=1e-5)
