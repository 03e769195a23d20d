"""Structures that shapes alone do not tell from more usual ones, and the changes by which they are reached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs import build_architecture, load_classifier, make_images
from robaudit.inputs.networks import residual_family
from robaudit.inputs.networks.families import parse, text_of, varied
from robaudit.inputs.networks.family import Family
from robaudit.inputs.normalisation import parse_normalisation
from robaudit.inputs.recovery.candidates import Candidate, assemble
from robaudit.inputs.recovery.layers import read_layers
from robaudit.inputs.recovery.matching import candidates
from robaudit.inputs.recovery.trials import Trial


def variations(spec: str) -> dict[str, float]:
    return {text_of(plan): price for plan, price in varied(parse(spec), Family.neighbours)}


def combinations(spec: str) -> dict[str, float]:
    return {text_of(plan): price for plan, price in varied(parse(spec), Family.combinations)}


X = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class EvenBlock(nn.Module):
    """A block without norms; kernels of 4, and of 2 in the shortcut, where the stride is 2."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(ins, outs, 2 + stride, stride, 1)
        self.short, self.second = nn.Conv2d(ins, outs, stride, stride), nn.Conv2d(outs, outs, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.short(x))


def test_blocks_with_even_kernels_and_a_shortcut_in_their_middle(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), EvenBlock(8, 8, 1), EvenBlock(8, 8, 1), EvenBlock(8, 16, 2),
        EvenBlock(16, 16, 2), nn.Flatten(), nn.Linear(1024, 32), nn.ReLU(), nn.Linear(32, 10),
    ).eval()  # fmt: skip
    torch.save(network.state_dict(), tmp_path / "a.pt")
    classifier = load_classifier(str(tmp_path / "a.pt"), shape=(3, 32, 32))
    assert torch.allclose(classifier(X), network(X), atol=1e-4)
    again = load_classifier(str(tmp_path / "a.pt"), arch=classifier.info.architecture, shape=(3, 32, 32))
    assert torch.equal(again(X), classifier(X))


def test_a_stride_may_stand_for_a_pooling_and_the_other_way_round() -> None:
    rest = "conv64k3 relu conv64k3 relu max2 flatten fc200 relu fc200 relu fcK"
    strided = f"sequential:conv32k3 relu conv32k3s2 relu {rest}"
    assert strided in dict(variations("smallcnn"))
    assert "smallcnn" in dict(variations(strided))


def test_convolutions_may_have_no_activation_of_their_own() -> None:
    """As Caffe's LeNet, with maximum and with average pooling."""
    for pool in ("max2", "avg2"):
        linear = f"sequential:conv20k5 {pool} conv50k5 {pool} flatten fc500 relu fcK"
        assert linear in dict(combinations("lenet-mnist"))


def test_some_poolings_may_be_averages() -> None:
    """As Caffe's networks for CIFAR-10: a maximum, then averages."""
    text = "sequential:conv32k5p2 relu {} conv32k5p2 relu {} conv64k5p2 relu {} flatten fc64 relu fcK"
    found = dict(variations(text.format("max2", "max2", "max2")))
    assert text.format("max2", "avg2", "avg2") in found
    assert text.format("max2", "max2", "avg2") in found


def test_a_convolution_over_the_whole_map_is_a_likely_end() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, 1, 2), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(8, 8, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 4), nn.ReLU(), nn.Conv2d(16, 10, 1),
        nn.Flatten(),
    ).eval()  # fmt: skip
    tensors = network.state_dict().values()
    state = {f"conv{i // 2}.{'bias' if i % 2 else 'weight'}": tensor for i, tensor in enumerate(tensors)}
    options = candidates(read_layers(state), (3, 32, 32))[:32]
    assert any(torch.allclose(assemble(option)(X), network(X), atol=1e-4) for option in options)


def test_what_is_flattened_may_have_no_activation() -> None:
    base = "sequential:conv32k3p1 bn relu max2 conv64k3p1 bn relu max2 flatten fc128 relu fcK"
    assert base.replace("conv64k3p1 bn relu", "conv64k3p1 bn") in dict(variations(base))


def test_two_linear_layers_behind_a_residual_network_may_follow_each_other() -> None:
    torch.manual_seed(0)
    network = build_architecture("resnet20:hidden=32,hidden_linear=yes", classes=10).eval()
    before = network(X)
    network.linear1.weight.data.mul_(2)
    network.linear1.bias.data.mul_(2)
    network.linear.weight.data.div_(2)
    assert torch.allclose(network(X), before, atol=1e-5)
    network.linear1.weight.data.mul_(-1)
    network.linear1.bias.data.mul_(-1)
    network.linear.weight.data.mul_(-1)
    assert torch.allclose(network(X), before, atol=1e-5), "an activation is in between"
    assert "resnet20:hidden=32,hidden_linear=yes" in dict(variations("resnet20:hidden=32"))


def test_a_change_is_not_given_up_while_both_are_always_right() -> None:
    """Sixty-four images on which neither errs say nothing of the next thousand."""
    torch.manual_seed(0)
    labels = torch.arange(400) % 4
    sure = 50.0 * F.one_hot(labels, 4).float()
    worse = sure.clone()
    worse[100::7] = sure[100::7].roll(1, 1)
    answers = {"good": sure, "bad": worse}
    images = make_images(torch.rand(400, 1, 2, 2), labels, name="some", split="test", classes=4)

    class Told(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name, self.at = name, 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.at += len(x)
            return answers[self.name][self.at - len(x) : self.at] + (1e-3 if self.name == "good" else 0)

    none = parse_normalisation("none", 1)
    good, bad = (Candidate(name, (), 1, 2, 4, 0.0, Told(name)) for name in ("good", "bad"))
    trial = Trial(images)
    assert trial.race([(bad, none), (good, none)], 400)[0].candidate is good


def test_the_only_stage_of_a_residual_network_may_have_a_stride() -> None:
    plan = parse("residual:widths=16,depths=2,strides=1,stem=8-3-2,norm=none,bias=yes,pool=2,hidden=100")
    guesses = dict(residual_family.FAMILY.first_guesses(plan))
    assert guesses[replace(plan, strides=(2,))] == 1.0
    assert min(guesses.values()) == guesses[plan] == 0.0
