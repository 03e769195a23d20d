"""Architectures from shapes alone: every name is erased, and the network must come back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs import build_architecture
from robaudit.inputs.recovery.candidates import Candidate, assemble
from robaudit.inputs.recovery.catalogue import catalogue_options
from robaudit.inputs.recovery.layers import read_layers
from robaudit.inputs.recovery.matching import candidates
from robaudit.inputs.recovery.members import member_options, read_members
from tests.inputs.recovery.recovering import NETWORKS, nameless, varied


@pytest.mark.parametrize(("name", "channels", "side"), NETWORKS)
def test_a_network_comes_back_without_its_names(name: str, channels: int, side: int) -> None:
    torch.manual_seed(0)
    network = varied(build_architecture(name, classes=10, in_channels=channels, image_size=side))
    options = candidates(read_layers(nameless(network)), (channels, side, side))
    x = torch.rand(2, channels, side, side)
    with torch.inference_mode():
        expected = network(x)
        for rank, option in enumerate(options[:40]):
            logits = assemble(option)(x)
            if logits.shape == expected.shape and torch.allclose(logits, expected, atol=1e-4):
                assert rank < 40
                return
    pytest.fail(f"{name} is not among {[option.text[:80] for option in options[:5]]}")


def test_a_head_of_cosines_stored_as_features_by_classes() -> None:
    """As in published code for long-tailed data: the last weight is (features, classes), without bias."""
    torch.manual_seed(0)
    network = varied(build_architecture("resnet20:cosine=yes", classes=10))
    state = network.state_dict()
    state["linear.weight"] = state["linear.weight"].T.contiguous()
    option = candidates(read_layers(state), (3, 32, 32))[0]
    x = torch.rand(2, 3, 32, 32)
    assert option.classes == 10
    assert torch.allclose(assemble(option)(x), network(x), atol=1e-5)


class Reordered(nn.Module):
    """A residual block as somebody else writes it: shortcut first, norms last."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.skip = nn.Sequential()
        if stride > 1 or ins != outs:
            self.skip = nn.Sequential(nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs))
        self.a = nn.Conv2d(ins, outs, 3, stride, 1, bias=False)
        self.b = nn.Conv2d(outs, outs, 3, 1, 1, bias=False)
        self.norm_a, self.norm_b = nn.BatchNorm2d(outs), nn.BatchNorm2d(outs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.skip(x) + self.norm_b(self.b(torch.relu(self.norm_a(self.a(x))))))


def test_a_block_in_another_order() -> None:
    torch.manual_seed(0)
    body = [Reordered(16, 16, 1), Reordered(16, 32, 2), Reordered(32, 32, 1)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    network = varied(nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 7)))
    option = candidates(read_layers(network.state_dict()), (3, 32, 32))[0]
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(assemble(option)(x), network(x), atol=1e-5)


def test_numbers_in_names_tell_where_the_norm_stands() -> None:
    torch.manual_seed(0)
    network = varied(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10),
        )
    )  # fmt: skip
    option = candidates(read_layers(network.state_dict()), (3, 32, 32))[0]
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(assemble(option)(x), network(x), atol=1e-5)


@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.weight_norm,
        partial(nn.utils.weight_norm, dim=None),
        partial(nn.utils.weight_norm, dim=1),
        nn.utils.parametrizations.weight_norm,
        partial(nn.utils.parametrizations.weight_norm, dim=None),
        nn.utils.spectral_norm,
        nn.utils.parametrizations.spectral_norm,
    ],
)
def test_weight_and_spectral_normalisation_are_folded(wrap: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    network = build_architecture("lenet5", classes=10)
    for module in [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]:
        wrap(module)
    option = candidates(read_layers(network.state_dict()), (3, 32, 32))[0]
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(assemble(option)(x), network.eval()(x), atol=1e-5)


def test_tensors_with_other_names_are_weights_and_biases() -> None:
    torch.manual_seed(0)
    network = build_architecture("lenet5", classes=10).eval()
    renamed = {}
    for i, tensor in enumerate(network.state_dict().values()):
        renamed[f"{'W' if i % 2 == 0 else 'b'}{i // 2 + 1}"] = tensor
    option = candidates(read_layers(renamed), (3, 32, 32))[0]
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(assemble(option)(x), network(x), atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121", "shufflenet_v2_x0_5", "squeezenet1_1"])
def test_torchvision_networks_are_known_by_their_shapes(name: str) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    network = models.get_model(name, weights=None, num_classes=10).eval()
    state = {f"module.{key}": tensor for key, tensor in network.state_dict().items()}
    options = catalogue_options(state, read_layers(state), (3, 64, 64))
    x = torch.rand(2, 3, 64, 64)
    assert f"torchvision:{name}" in [option.text for option in options]
    assert torch.allclose(assemble(options[0])(x), network(x), atol=1e-4)


LAYERS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([1, 3, 8, 16, 32]), st.sampled_from([1, 3, 8, 16, 32]), st.sampled_from([1, 3, 4, 5]))
        .map(lambda s: {"weight": torch.zeros(s[0], s[1], s[2], s[2])}),
        st.sampled_from([8, 16, 32]).map(lambda n: {"weight": torch.zeros(n), "running_mean": torch.zeros(n)}),
        st.tuples(st.sampled_from([2, 10, 16]), st.sampled_from([8, 16, 64, 512])).map(
            lambda s: {"weight": torch.zeros(s)}
        ),
        st.just({"weight": torch.zeros(8), "bias": torch.zeros(8)}),
    ),
    max_size=14,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(parts=LAYERS)
def test_any_sequence_of_layers_is_read_without_a_crash(parts: list[dict[str, torch.Tensor]]) -> None:
    state = {f"{i}.{role}": tensor for i, part in enumerate(parts) for role, tensor in part.items()}
    for option in candidates(read_layers(state), (3, 32, 32))[:3]:
        try:
            assemble(option)
        except RobauditError:
            continue


def test_an_ensemble_is_never_a_catalogue_s_network_of_its_first_member(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a network is filled already, with the tensors of one member."""
    states = [build_architecture("resnet20", classes=10).state_dict() for _ in range(2)]
    filled = Candidate("torchvision:x", (), 3, 32, 10, -5.0, nn.Flatten())
    monkeypatch.setattr("robaudit.inputs.recovery.members.catalogue_options", lambda *_, **__: [filled])
    options = member_options(read_members(states, Path("x")), None, (3, 32, 32), Path("x"))
    assert options and all(option.text.startswith("ensemble:2*resnet20") for option in options[:1])
    assert all(option.network is None for option in options)
    monkeypatch.setattr("robaudit.inputs.recovery.members.candidates", lambda *_: [])
    with pytest.raises(RobauditError, match="x: holds 2 networks of torchvision:x; --key chooses one"):
        member_options(read_members(states, Path("x")), None, (3, 32, 32), Path("x"))
