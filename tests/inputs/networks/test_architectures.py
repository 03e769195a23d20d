"""Architectures by name: sizes that are published, and texts that rebuild what they describe."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.architectures import NETWORKS
from robaudit.errors import RobauditError
from robaudit.inputs import ARCHITECTURES, build_architecture
from robaudit.inputs.networks import published
from robaudit.inputs.networks.residual_family import RESIDUAL, WIDE, parse_residual, residual_spec, wide_plan
from robaudit.inputs.networks.texts import SEQUENTIAL, VGGS

SIDES = {
    "digits-cnn": (1, 8),
    "smallcnn": (1, 28),
    "madry-mnist": (1, 28),
    "lenet-mnist": (1, 28),
    "mlp": (1, 28),
}
#: Learned numbers, from the papers or the reference code of each.
PUBLISHED = {
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet20:shortcut=pad": 269_722,
    "resnet110:shortcut=pad": 1_727_962,
    "wrn-28-10": 36_479_194,
    "wrn-34-10": 46_160_474,
    "preactresnet18": 11_172_170,
    "smallcnn": 312_202,
    "digits-cnn": 151_306,
}


def made(name: str) -> torch.nn.Module:
    channels, side = SIDES.get(name, (3, 32))
    return build_architecture(name, classes=10, in_channels=channels, image_size=side)


def test_every_network_with_a_name_is_listed_without_torch() -> None:
    assert set(NETWORKS["plain"]) == set(SEQUENTIAL)
    assert {name for name in NETWORKS["residual"] if not WIDE.fullmatch(name)} == set(RESIDUAL)
    assert set(NETWORKS["published"]) == set(published.PUBLISHED)
    assert set(NETWORKS["vgg"]) <= set(VGGS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name: str) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in made(name).parameters())
    assert count == pytest.approx(PUBLISHED[name], rel=2e-4)


@pytest.mark.parametrize("name", [n for n in ARCHITECTURES if not n.startswith("wrn") and "1" not in n[6:9]])
def test_every_name_gives_logits(name: str) -> None:
    channels, side = SIDES.get(name, (3, 32))
    with torch.inference_mode():
        assert made(name).eval()(torch.rand(2, channels, side, side)).shape == (2, 10)


plans = st.builds(
    dataclasses.replace,
    st.sampled_from([*RESIDUAL.values(), wide_plan(16, 4), wide_plan(28, 10)]),
    shortcut=st.sampled_from(["conv", "pad", "pool-conv", "pad-end"]),
    activation=st.sampled_from(["relu", "silu", "leaky0.1"]),
    hidden=st.sampled_from([(), (100,), (20, 30)]),
    stem_pool=st.booleans(),
    project=st.sampled_from(["needed", "first", "all"]),
)


@settings(max_examples=100, deadline=None)
@given(plan=plans)
def test_a_residual_text_reads_back(plan: object) -> None:
    assert parse_residual(residual_spec(plan)) == plan  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "resnet21", "wrn-27-10", "resnet20:shortcut", "resnet20:depths=x", "resnet20:depths=3-3", "sequential:conv5",
        "sequential:fc10", "sequential:skip flatten fcK", "sequential:add flatten fcK", "resnet20:norm=gc0",
        "sequential:conv8k3 gc0 flatten fcK", "sequential:conv8k9 flatten fcK" * 4,
        "sequential:skip conv8k3 add flatten fcK", "sequential:else flatten fcK",
        "sequential:skip conv3k3p1 else conv4k1 add flatten fcK", "sequential:skip else else add flatten fcK",
        "sequential:skip conv3k3 cat flatten fcK", "sequential:skip skip add flatten fcK",
        "resnet20:se=-1", "resnet20:se=999", "ensemble:x*resnet20", "residual:order=sideways", "",
    ],
)  # fmt: skip
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(RobauditError):
        build_architecture(name, classes=10)


def test_branches_are_added_or_joined_by_channels() -> None:
    words = "skip conv4k3p1 else conv4k1 add skip conv2k1 cat skip conv3k1 cat-new gap flatten"
    network = build_architecture(f"sequential:{words}", classes=10, image_size=8)
    added, joined, new_first = network[:3]
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        y = added[0](x) + added.shortcut[0](x)
        y = torch.cat([y, joined[0](y)], 1)
        want = torch.cat([new_first[0](y), y], 1).mean((2, 3))
        assert torch.allclose(network(x), want, atol=1e-6) and want.shape == (2, 9)
