"""Networks whose weights are drawn anew in every call: noise injection and Bayesian layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier, load_images
from robaudit.inputs.files.stochastic_weights import with_deviations
from robaudit.inputs.networks import build_architecture
from robaudit.inputs.networks.noise import NoisyConv2d, NoisyLinear, sampled
from robaudit.inputs.recovery.candidates import assemble
from robaudit.inputs.recovery.layers import read_layers
from robaudit.inputs.recovery.matching import candidates

State = dict[str, torch.Tensor]
TINY = "sequential:conv8k3p1 bn relu max2 flatten fc32 relu fcK"


def plain_state() -> State:
    torch.manual_seed(0)
    return build_architecture(TINY, classes=10, in_channels=1, image_size=8).state_dict()


def with_shares(state: State, shape: str) -> State:
    """As noise injection stores it: one share for a layer, for each channel or for each weight."""
    found: State = {}
    for key, tensor in state.items():
        found[key] = tensor
        if key.endswith("weight") and tensor.ndim > 1:
            sizes = {"layer": (1,), "channel": (len(tensor), *[1] * (tensor.ndim - 1)), "each": tensor.shape}
            found[key.replace("weight", "alpha_w")] = torch.full(sizes[shape], -0.25)
    return found


def bayesian(state: State) -> State:
    """As Adv-BNN stores it: means, logarithms of deviations, and the last draw."""
    found: State = {}
    for key, tensor in state.items():
        prefix, _, role = key.rpartition(".")
        if role not in ("weight", "bias"):
            found[key] = tensor
            continue
        found[f"{prefix}.mu_{role}"] = tensor
        found[f"{prefix}.sigma_{role}"] = torch.full_like(tensor, -3.0)
        found[f"{prefix}.eps_{role}"] = torch.randn_like(tensor)
    return found


def recovered(state: State) -> nn.Module:
    options = candidates(read_layers(state), (1, 8, 8))
    return assemble(next(option for option in options if option.text == TINY))


@pytest.mark.parametrize("shape", ["layer", "channel", "each"])
def test_noise_injection_adds_its_share_of_the_weights_own_deviation(shape: str) -> None:
    state = plain_state()
    network = recovered(with_shares(state, shape))
    noisy = [module for module in network.modules() if isinstance(module, (NoisyConv2d, NoisyLinear))]
    assert len(noisy) == 3
    for module in noisy:
        draws = torch.stack([sampled(module)[0] for _ in range(600)])
        expected = 0.25 * float(module.weight.std())
        assert float(draws.std(0).mean()) == pytest.approx(expected, rel=0.02)
        assert torch.allclose(draws.mean(0), module.weight, atol=0.25 * expected)
        assert torch.equal(sampled(module)[1], module.bias)


def test_bayesian_layers_draw_weight_and_bias_of_convolutions_norms_and_linears() -> None:
    state = plain_state()
    network = recovered(bayesian(state))
    plain = recovered(state)
    x = torch.rand(4, 1, 8, 8)
    draws = torch.stack([network(x) for _ in range(400)])
    assert float(draws.std(0).min()) > 0
    for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    deviations = [tensor for name, tensor in network.named_buffers() if name.endswith("_std")]
    assert len(deviations) == 8  # of weight and bias of four layers
    assert all(torch.allclose(tensor, torch.tensor(-3.0).exp()) for tensor in deviations)


def test_softplus_makes_a_deviation_of_rho_and_names_without_a_mean_stay() -> None:
    state = {
        "a.weight_mu": torch.zeros(2, 3),
        "a.weight_rho": torch.full((2, 3), -2.0),
        "b.rho_weight": torch.ones(2),
    }
    found = with_deviations(state)
    assert list(found) == ["a.weight", "a.weight_std", "b.rho_weight"]
    assert torch.allclose(found["a.weight_std"], F.softplus(torch.tensor(-2.0)))


def test_deviations_that_do_not_fit_are_refused() -> None:
    state = with_shares(plain_state(), "layer")
    key = next(name for name in state if name.endswith("alpha_w"))
    state[key] = torch.ones(7)
    options = candidates(read_layers(state), (1, 8, 8))
    with pytest.raises(RobauditError, match="noise of weight does not fit"):
        assemble(next(option for option in options if option.text == TINY))


def test_a_noisy_network_loads_and_answers_anew_in_every_call(tmp_path: Path) -> None:
    images = load_images("digits", limit=300)
    torch.manual_seed(0)
    network = build_architecture(TINY, classes=10, in_channels=1, image_size=8)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(network(images.float()), images.labels).backward()
        optimiser.step()
    torch.save({"state_dict": with_shares(network.state_dict(), "channel")}, tmp_path / "noisy.pth")
    classifier = load_classifier(str(tmp_path / "noisy.pth"), images=images)
    x = images.float(slice(0, 8))
    assert not torch.equal(classifier(x), classifier(x))
