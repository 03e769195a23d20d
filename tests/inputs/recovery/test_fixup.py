"""Fixup, the example of a family that one file adds: a network of our own writing, from its bare state dict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs import load_classifier, load_images
from robaudit.inputs.networks.families import parse, text_of
from tests.inputs.recovery.recovering import nameless


class Block(nn.Module):
    """As the paper's Figure 1: biases around each convolution, a multiplier, zero channels behind the shortcut."""

    def __init__(self, ins: int, outs: int, raw: bool) -> None:
        super().__init__()
        self.bias1a, self.bias1b, self.bias2a = (nn.Parameter(torch.zeros(1)) for _ in range(3))
        self.scale, self.bias2b, self.raw = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1)), raw
        self.conv1 = nn.Conv2d(ins, outs, 3, 1 if ins == outs else 2, 1, bias=False)
        self.conv2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.conv1(x + self.bias1a) + self.bias1b)
        y = self.conv2(y + self.bias2a) * self.scale + self.bias2b
        if y.shape != x.shape:
            x = (x if self.raw else x + self.bias1a)[:, :, ::2, ::2]
            x = torch.cat([x, torch.zeros_like(x)], 1)
        return F.relu(x + y)


class Fixup(nn.Module):
    def __init__(self, channels: int, raw: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, 1, 1, bias=False)
        self.bias1, self.bias2 = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.layer1 = nn.Sequential(Block(8, 8, raw), Block(8, 8, raw))
        self.layer2 = nn.Sequential(Block(8, 16, raw), Block(16, 16, raw))
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer2(self.layer1(F.relu(self.conv1(x) + self.bias1)))
        return self.fc(x.mean((2, 3)) + self.bias2)


@pytest.fixture(scope="module", params=[False, True], ids=["biased shortcut", "raw shortcut"])
def trained(request: pytest.FixtureRequest) -> nn.Module:
    """A network trained on digits for a moment."""
    torch.manual_seed(0)
    network, data = Fixup(1, request.param), load_images("digits", split="train")
    x, optimiser = data.float(), torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(network(x), data.labels).backward()
        optimiser.step()
    with torch.no_grad():  # what training hardly moves in a moment
        for name, tensor in network.named_parameters():
            if name.endswith("bias1a"):
                tensor.add_(0.3)
    return network.eval()


@pytest.mark.parametrize("named", [True, False])
def test_fixup_is_recovered_from_its_tensors(trained: nn.Module, named: bool, tmp_path: Path) -> None:
    state = trained.state_dict() if named else nameless(trained)
    torch.save(
        {f"module.{key}" if named else key: tensor for key, tensor in state.items()}, tmp_path / "a.pt"
    )
    digits = load_images("digits")
    with torch.no_grad():  # labels by which the right structure is the only one without errors
        digits = replace(digits, labels=trained(digits.float()).argmax(1))
    classifier = load_classifier(str(tmp_path / "a.pt"), images=digits)
    assert classifier.info.architecture.startswith("fixup:widths=8-16,depths=2-2,stem=8,strides=1-2")
    assert torch.allclose(classifier(digits.float()), trained(digits.float()), atol=1e-4)
    again = load_classifier(str(tmp_path / "a.pt"), arch=classifier.info.architecture, normalise="none")
    assert torch.equal(again(digits.float()), classifier(digits.float()))


def test_a_fixup_text_reads_back() -> None:
    text = "fixup:widths=16-32-64,depths=3-3-3,stem=16,strides=1-2-2,shortcut=pad,shortcut_raw=yes,activation=silu"
    assert text_of(parse(text)) == text
