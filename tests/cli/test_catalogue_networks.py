"""What `check` says a published network is, `verify`, `check --arch` and `gate --verify` take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robaudit.cli import run
from robaudit.errors import RobauditError
from robaudit.evidence import EvidenceFile
from robaudit.inputs.recovery.catalogue import build_catalogue

POLICY = """
models = ["n.safetensors"]
dataset = "d.npz"
eps = "1/255"
limit = 8
evidence = "kept"
[budget]
apgd-steps = 2
fab-steps = 1
square-queries = 4
targets = 1
"""


def write(folder: Path, name: str) -> str:
    """A network that is right on its data, its tensors sorted by name as `.safetensors` files have them."""
    torch.manual_seed(0)
    network = build_catalogue(*name.split(":"), 4, 3).eval()
    noise = torch.rand(40, 3, 32, 32)
    pixels = ((noise - 0.5) * torch.linspace(0.1, 1, 40).view(-1, 1, 1, 1) + 0.5).mul(255).round().byte()
    head = [part for part in network.modules() if isinstance(part, nn.Linear)][-1]
    with torch.no_grad():
        head.bias.sub_(network(pixels.float() / 255).mean(0))
        labels = network(pixels.float() / 255).argmax(1)
    np.savez(folder / "d.npz", images=pixels.permute(0, 2, 3, 1).numpy(), labels=labels.numpy())
    save_file(
        {key: value.contiguous() for key, value in sorted(network.state_dict().items())},
        folder / "n.safetensors",
    )
    (folder / "robaudit.toml").write_text(POLICY)
    return str(folder / "n.safetensors")


@pytest.mark.parametrize(
    "name", ["timm:test_resnet", pytest.param("torchvision:resnet18", marks=pytest.mark.heavy)]
)
def test_what_is_printed_is_taken(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm")
    model, kept, ended = write(tmp_path, name), str(tmp_path / "e.evidence"), (0, 1, 3)
    usual = [
        model,
        "--dataset",
        str(tmp_path / "d.npz"),
        "--eps",
        "1/255",
        "--limit",
        "8",
        "--attacks",
        "pgd10",
    ]
    assert run(["check", *usual, "--force", "--evidence", kept]) in ended
    with EvidenceFile.open(Path(kept)) as file:
        assert file.read().header.model["architecture"] == name
    assert run(["verify", kept, model]) in ended
    assert run(["check", *usual, "--force", "--arch", name, "--evidence", kept]) in ended
    policy = ["gate", "--policy", str(tmp_path / "robaudit.toml")]
    assert run(policy) in ended
    assert run([*policy, "--verify"]) in ended
    assert "(re-checked)" in capsys.readouterr().out


def test_what_a_catalogue_does_not_list_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's text may name one: timm follows paths and the Hub, torchvision fetches a detector's backbone."""
    timm, torchvision = pytest.importorskip("timm"), pytest.importorskip("torchvision")

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("asked for")

    monkeypatch.setattr(timm, "create_model", asked)
    monkeypatch.setattr(torchvision.models, "get_model", asked)
    for name in (
        *(
            "timm:hf-hub:owner/name",
            "timm:hf_hub:owner/name",
            "timm:local-dir:/etc",
            "timm:../resnet18",
            "timm:",
        ),
        *(
            "torchvision:fasterrcnn_resnet50_fpn",
            "torchvision:deeplabv3_resnet50",
            "torchvision:quantized_resnet50",
        ),
        *("torchvision:ResNet18_Weights", "torchvision:os.system", "torchvision:"),
    ):
        with pytest.raises(RobauditError, match="no such model"):
            build_catalogue(*name.split(":", 1), 10, 3)
