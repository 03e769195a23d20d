"""Checkpoints that hold more than the network: a loss with weights, a head of its own; and names of none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robaudit.errors import RobauditError
from robaudit.inputs import build_architecture, load_classifier
from robaudit.inputs.recovery.catalogue import build_catalogue
from robaudit.inputs.recovery.reductions import without_losses

TINY = "sequential:conv4k3p1 relu conv4k3p1 relu flatten fcK"


def saved(place: Path, state: dict[str, torch.Tensor], **more: torch.Tensor) -> str:
    named = {f"model.{key}": tensor for key, tensor in state.items()}
    torch.save({"state_dict": named | {key.replace("__", "."): value for key, value in more.items()}}, place)
    return str(place)


@pytest.mark.parametrize("loss", ["criterion__weight", "loss_fn__weight", "train_loss__ce__pos_weight"])
def test_the_weights_of_a_loss_are_left_out_whoever_names_the_architecture(tmp_path: Path, loss: str) -> None:
    pytest.importorskip("timm")
    network = build_catalogue("timm", "test_resnet", 4, 3).eval()
    file = saved(tmp_path / "a.ckpt", network.state_dict(), **{loss: torch.rand(4)})
    x = torch.rand(2, 3, 32, 32)
    for arch in (None, "timm:test_resnet"):
        found = load_classifier(file, arch=arch, normalise="none", shape=(3, 32, 32))
        assert torch.allclose(found(x), network(x), atol=1e-5)
        assert f"left out {loss.replace('__', '.')}, of the loss that it was trained with" in found.info.notes
    plain = build_architecture(TINY, classes=4, in_channels=3, image_size=8).eval()
    file = saved(tmp_path / "b.ckpt", plain.state_dict(), **{loss: torch.rand(4)})
    found = load_classifier(file, arch=TINY, normalise="none", shape=(3, 8, 8))
    assert torch.allclose(found(x[..., :8, :8]), plain(x[..., :8, :8]), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("val_confmat__confmat", 90 * torch.eye(4) + torch.rand(4, 4)),
        ("metrics__confmat", torch.eye(4).long()),
        ("transition__T", torch.eye(4)),
        ("queue_ptr", torch.zeros(1).long()),
    ],
)
def test_what_a_metric_keeps_is_no_layer(tmp_path: Path, name: str, table: torch.Tensor) -> None:
    network = build_architecture(TINY, classes=4, in_channels=3, image_size=8).eval()
    file = saved(tmp_path / "a.ckpt", network.state_dict(), **{name: table})
    x = torch.rand(2, 3, 8, 8)
    found = load_classifier(file, normalise="none", shape=(3, 8, 8))
    assert torch.allclose(found(x), network(x), atol=1e-5)
    assert f"left out {name.replace('__', '.')}, which are no layer's" in found.info.notes


def test_a_loss_with_a_matrix_may_be_the_last_layer() -> None:
    state = {"net.weight": torch.rand(4, 3), "loss.weight": torch.rand(10, 4), "gloss.weight": torch.rand(4),
             "loss.bias": torch.rand(10), "criterion": torch.rand(2)}  # fmt: skip
    assert without_losses(state) == (state, [])


def test_what_a_named_network_of_a_catalogue_has_not_is_left_out_and_told(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    network = build_catalogue("timm", "test_resnet", 4, 3).eval()
    more = {"projector__weight": torch.rand(8, 96), "train_acc__total": torch.tensor(3.0)}
    file = saved(tmp_path / "a.ckpt", network.state_dict(), **more)
    found = load_classifier(file, arch="timm:test_resnet", normalise="none", shape=(3, 32, 32))
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(found(x), network(x), atol=1e-5)
    assert (
        "warning: left out projector.weight, train_acc.total, which timm:test_resnet has not"
        in found.info.notes
    )


def test_a_wrong_name_is_told_as_such(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    file = saved(tmp_path / "a.ckpt", build_catalogue("timm", "test_resnet", 4, 3).state_dict())
    for arch, reason in (
        ("torchvision:resnet51", r"torchvision:resnet51: no such model \(did you mean resnet\d+\?\)"),
        ("timm:test_resnett", r"timm:test_resnett: no such model \(did you mean test_resnet\?\)"),
        (
            "timm:test_vit",
            "--arch timm:test_vit: the file does not fit it: it has .* layers, the architecture",
        ),
        ("torchvision:resnet18", "--arch torchvision:resnet18: the file does not fit it: it has .* layers"),
        ("resnet18", "--arch resnet18: the file does not fit it"),
    ):
        with pytest.raises(RobauditError, match=reason) as told:
            load_classifier(file, arch=arch, shape=(3, 32, 32))
        assert "pass --arch" not in str(told.value)
