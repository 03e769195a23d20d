"""Vision transformers from bare state dicts, against timm's, torchvision's and torch's own, with equal outputs."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from robaudit.errors import RobauditError
from robaudit.inputs.networks import build_architecture
from robaudit.inputs.networks.families import varied
from robaudit.inputs.networks.family import Family
from robaudit.inputs.recovery.candidates import assemble
from robaudit.inputs.recovery.layers import read_layers
from robaudit.inputs.recovery.members import member_options, read_members
from robaudit.inputs.recovery.transformer import transformer_candidates
from tests.inputs.recovery.references import State

SHAPE = (3, 32, 32)
timm = pytest.importorskip("timm")


def randomised(network: nn.Module) -> nn.Module:
    """In evaluation mode; no two tensors alike, so that any exchange shows."""
    torch.manual_seed(0)
    for tensor in network.parameters():
        nn.init.normal_(tensor, 0.5 if tensor.ndim == 1 else 0.0, 0.2)
    return network.eval()


@torch.no_grad()
def recovered(state: State, x: torch.Tensor, want: torch.Tensor, shape: tuple[int, int, int] = SHAPE) -> str:
    """The first architecture among the candidates and their variations whose outputs are `want`."""
    options = member_options(read_members([state], Path("f")), None, shape, Path("f"))
    for option in options:
        near = varied(option.plan, Family.neighbours)
        for other in (option, *(option.with_plan(plan, price) for plan, price in near)):
            if torch.allclose(assemble(other)(x), want, atol=1e-4 * float(want.abs().max())):
                return other.text
    return ""


def small(**options: object) -> nn.Module:
    sizes = {"img_size": 32, "patch_size": 4, "embed_dim": 96, "depth": 3, "num_heads": 6, "num_classes": 10}
    return timm.models.vision_transformer.VisionTransformer(**{**sizes, **options})


def torchvisions() -> nn.Module:
    return models.VisionTransformer(32, 8, 2, 4, 64, 128, num_classes=10)


def split(state: State) -> State:
    """Queries, keys and values apart, under Hugging Face's names, the norms of a block at its end."""
    found: State = {}
    names = {
        "attn.proj": "attention.output.dense", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
        "norm1": "layernorm_before", "norm2": "layernorm_after",
    }  # fmt: skip
    for key, tensor in sorted(state.items(), key=lambda item: "norm" in item[0]):
        block = re.match(r"blocks\.(\d+)\.(.+)\.(weight|bias)", key)
        if block is None:
            found["vit." + key] = tensor
            continue
        start = f"vit.encoder.layer.{block[1]}."
        if block[2] == "attn.qkv":
            for name, part in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[f"{start}attention.attention.{name}.{block[3]}"] = part
        else:
            found[f"{start}{names[block[2]]}.{block[3]}"] = tensor
    return found


def flattened(state: State, order: Callable[[torch.Tensor], torch.Tensor]) -> State:
    """The convolution of patches as a linear layer."""
    key = "patch_embed.proj.weight"
    return state | {key: order(state[key]).flatten(1)}


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "timm": small,
    "without bias": partial(small, qkv_bias=False),
    "mean": partial(small, global_pool="avg", class_token=False),
    "mean, norm first": partial(small, global_pool="avg", class_token=False, fc_norm=False),
    "relu": partial(small, act_layer=nn.ReLU),
    "patch 8": partial(small, patch_size=8, num_heads=3),
    "torchvision": torchvisions,
}
FORMS: dict[str, Callable[[State], State]] = {
    "as it is": dict,
    "sorted by name": lambda state: dict(sorted(state.items())),
    "wrapped": lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_transformer_is_recovered_with_equal_outputs(name: str, form: str) -> None:
    network, x = randomised(NETWORKS[name]()), torch.rand(4, *SHAPE)
    assert recovered(FORMS[form](network.state_dict()), x, network(x)).startswith("vit:")


@pytest.mark.parametrize("sort", [False, True])
def test_separate_queries_keys_and_values_are_joined(sort: bool) -> None:
    network, x = randomised(small()), torch.rand(4, *SHAPE)
    state = split(network.state_dict())
    assert "heads=6" in recovered(dict(sorted(state.items())) if sort else state, x, network(x))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_patches_by_a_linear_layer_in_either_order_of_pixels(order: tuple[int, ...]) -> None:
    network, x = randomised(small()), torch.rand(4, *SHAPE)
    state = flattened(network.state_dict(), lambda weight: weight.permute(order))
    assert "conv=no" in recovered(state, x, network(x))


def test_norms_after_the_additions() -> None:
    """As torch's own encoder layer has them unless told otherwise."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(1, 32, 7, 7)
            self.cls = nn.Parameter(torch.zeros(1, 1, 32))
            self.pos = nn.Parameter(torch.zeros(1, 17, 32))
            layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2)
            self.fc = nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.embed(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1) + self.pos
            return self.fc(self.encoder(tokens)[:, 0])

    network, x = randomised(Net()), torch.rand(4, 1, 28, 28)
    with torch.no_grad():
        assert "post=yes" in recovered(network.state_dict(), x, network(x), (1, 28, 28))


def test_batch_norm_of_tokens() -> None:
    """Our own network's answers, by a calculation of its first norm apart from it."""
    network = build_architecture(
        "vit:width=32,depth=1,heads=2,inner=32,hidden=16,patch=16,batch=yes", classes=3
    )
    randomised(network)
    block = network.blocks[0]
    tokens = torch.randn(4, 5, 32)
    norm = block.norm1
    want = (tokens - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(tokens), want)
    x = torch.rand(2, *SHAPE)
    assert "batch=yes" in recovered(network.state_dict(), x, network(x))


def test_what_is_no_transformer_is_left_alone() -> None:
    state = small().state_dict()
    broken = {key: value for key, value in state.items() if "blocks.1.attn.proj" not in key}
    assert transformer_candidates(read_layers(broken), None) == []
    assert transformer_candidates(read_layers(models.resnet18(num_classes=10).state_dict()), None) == []


@pytest.mark.parametrize("change", ["heads=5", "patch=5", "patch=0", "heads=0", "width=0"])
def test_sizes_that_do_not_fit_are_refused(change: str) -> None:
    key = change.partition("=")[0]
    good = "vit:width=8,depth=1,heads=2,inner=8,hidden=16,patch=16"
    with pytest.raises(RobauditError):
        build_architecture(re.sub(rf"{key}=\d+", change, good), classes=3)
