"""The models that people have: catalogues by their own clients, wrapped and quantised ones, pictures of any size."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs import build_architecture, load_classifier, load_images

State = dict[str, torch.Tensor]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_architecture("lenet5", classes=10).eval()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def same(source: str | Path, network: nn.Module, x: torch.Tensor, **named: str) -> bool:
    return torch.allclose(load_classifier(str(source), **named)(x), network(x), atol=1e-5)


def test_robustbench(network: nn.Module, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_model(**named: str) -> nn.Module:
        asked.append(named)
        return network

    package, utils = ModuleType("robustbench"), ModuleType("robustbench.utils")
    utils.load_model = load_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "robustbench", package)
    monkeypatch.setitem(sys.modules, "robustbench.utils", utils)
    monkeypatch.setattr("robaudit.inputs.hubs.unreachable", lambda urls: "")
    assert same("robustbench:Carmon2019Unlabeled", network, x)
    assert same("robustbench:Some2020Net:cifar100:L2", network, x)
    assert asked == [
        {"model_name": "Carmon2019Unlabeled", "dataset": "cifar10", "threat_model": "Linf"},
        {"model_name": "Some2020Net", "dataset": "cifar100", "threat_model": "L2"},
    ]
    with pytest.raises(RobauditError, match=r"threat 'Linff' is not known \(did you mean Linf\?\)"):
        load_classifier("robustbench:Some2020Net:cifar10:Linff")


@pytest.mark.parametrize(
    ("source", "module", "extra"),
    [
        ("robustbench:A", "robustbench.utils", "robustbench"),
        ("timm:resnet18", "timm", "timm"),
        ("hf:a/b", "huggingface_hub", "hub"),
    ],
)
def test_what_is_not_installed_is_named(
    source: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RobauditError) as error:
        load_classifier(source)
    assert str(error.value) == (
        f"{source}: needs the {module.partition('.')[0]} package; pip install 'robaudit[{extra}]'"
    )


def test_what_a_package_lacks_itself_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "robustbench"
    package.mkdir()
    (package / "__init__.py").write_text("import nowhere_to_be_found.part\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RobauditError) as error:
        load_classifier("robustbench:A")
    assert str(error.value) == (
        "robustbench:A: robustbench needs the nowhere_to_be_found package, which is not installed"
    )


def test_robustbench_finds_the_autoattack_that_it_requires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyautoattack")
    package = tmp_path / "robustbench"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from autoattack import AutoAttack\nfrom autoattack.state import EvaluationState\n"
    )
    (package / "utils.py").write_text("def load_model(**named): raise ValueError('it was asked')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("robaudit.inputs.hubs.unreachable", lambda urls: "")
    with pytest.raises(RobauditError, match="it was asked"):
        load_classifier("robustbench:A")
    assert "autoattack" not in sys.modules
    for name in ("robustbench.utils", "robustbench"):
        del sys.modules[name]


def test_timm(x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    made = timm.create_model("test_resnet", pretrained=False).eval()
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: made)
    monkeypatch.setattr("robaudit.inputs.hubs.unreachable", lambda urls: "")
    found = load_classifier("timm:test_resnet")
    mean, std = (torch.tensor(made.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(found(x), made((x - mean) / std), atol=1e-4)
    assert any("--image-size" in note for note in found.info.notes)
    with pytest.raises(RobauditError, match=r"timm:tset_resnet: no such model \(did you mean test_resnet"):
        load_classifier("timm:tset_resnet")


def served(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A Hub that holds what lies in a folder, at the client's own functions."""
    hub = pytest.importorskip("huggingface_hub")

    def fetched(owner: str, file: str, etag_timeout: float) -> str:
        assert owner == "me/it"
        if not (folder / file).is_file():
            raise hub.errors.EntryNotFoundError(file)
        return str(folder / file)

    names = SimpleNamespace(list_repo_files=lambda owner: sorted(path.name for path in folder.iterdir()))
    monkeypatch.setattr(hub, "hf_hub_download", fetched)
    monkeypatch.setattr(hub, "HfApi", lambda: names)
    monkeypatch.setattr("robaudit.inputs.hubs.unreachable", lambda urls: "")


@pytest.mark.parametrize("parts", [1, 3])
def test_the_hub_with_what_lies_beside_the_tensors(
    parts: int, x: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm")
    made = timm.create_model("test_resnet", pretrained=False, num_classes=7).eval()
    state = made.state_dict()
    for number in range(parts):
        name = "model.safetensors" if parts == 1 else f"model-{number + 1:05}-of-{parts:05}.safetensors"
        save_file({key: state[key].contiguous() for key in list(state)[number::parts]}, tmp_path / name)
    config = {"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": {"mean": [0.1, 0.2, 0.3],
              "std": [0.4, 0.5, 0.6], "input_size": [3, 160, 160]}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    served(monkeypatch, tmp_path)
    found = load_classifier("hf:me/it")
    mean, std = (torch.tensor(config["pretrained_cfg"][key]).view(3, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(found(x), made((x - mean) / std), atol=1e-4)
    assert found.info.architecture == "timm:test_resnet"


def wrapped(kind: str, state: State) -> object:
    def inside(word: str) -> State:
        return {".".join(p for part in key.split(".") for p in (word, part)): v for key, v in state.items()}

    def before(word: str) -> State:
        return {f"{word}.{key}": value for key, value in state.items()}

    return {
        "DataParallel": before("module"),
        "torch.compile": before("_orig_mod"),
        "both": before("module._orig_mod"),
        "FSDP": inside("_fsdp_wrapped_module"),
        "activation checkpointing": inside("_checkpoint_wrapped_module"),
        "Lightning": {
            "state_dict": before("model._orig_mod") | {"criterion.weight": torch.ones(10)},
            "pytorch-lightning_version": "2.5.0", "epoch": 3, "global_step": 9, "loops": {}, "callbacks": {},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3, 3)}}}], "lr_schedulers": [],
            "hparams_name": "kwargs", "hyper_parameters": {"lr": 0.1},
        },
    }[kind]  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["DataParallel", "torch.compile", "both", "FSDP", "activation checkpointing", "Lightning"]
)
def test_wrapped_networks(kind: str, network: nn.Module, x: torch.Tensor, tmp_path: Path) -> None:
    torch.save(wrapped(kind, network.state_dict()), tmp_path / "a.pt")
    assert same(tmp_path / "a.pt", network, x, arch="lenet5")
    (tmp_path / "mine.py").write_text(
        "from robaudit.inputs import build_architecture\n"
        "def net(): return build_architecture('lenet5', classes=10)\n"
    )
    assert same(tmp_path / "a.pt", network, x, arch=f"{tmp_path / 'mine.py'}:net")


def test_local_weights_of_torchvisions_networks(tmp_path: Path) -> None:
    from torchvision import models

    made = models.shufflenet_v2_x0_5(weights=None, num_classes=12).eval()
    torch.save(made.state_dict(), tmp_path / "a.pth")
    x = torch.rand(2, 3, 64, 64)
    assert same(tmp_path / "a.pth", made, x, arch="torchvision:shufflenet_v2_x0_5", normalise="none")


def test_a_quantised_network_is_refused_with_the_reason(tmp_path: Path) -> None:
    weight = torch.quantize_per_tensor(torch.rand(10, 64), 0.1, 0, torch.qint8)
    torch.save({"fc.weight": weight, "fc.bias": torch.rand(10)}, tmp_path / "q.pt")
    with pytest.raises(RobauditError, match=r"q\.pt: its tensor 'fc\.weight' is quantised"):
        load_classifier(str(tmp_path / "q.pt"))


def test_a_network_prepared_for_quantisation_is_refused_with_the_reason(tmp_path: Path) -> None:
    plain = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 10)
    ).train()  # fmt: skip
    plain.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
    torch.save(torch.ao.quantization.prepare_qat(plain).state_dict(), tmp_path / "qat.pt")
    with pytest.raises(
        RobauditError, match=r"qat\.pt: is of a network prepared for quantisation; pass the plain"
    ):
        load_classifier(str(tmp_path / "qat.pt"), images=load_images("digits"))


def test_pictures_of_any_size_are_resized_and_cropped_as_usual(tmp_path: Path) -> None:
    from torchvision import transforms

    generator = np.random.default_rng(0)
    sizes = [(61, 40), (40, 61), (50, 50), (33, 47)]
    usual = transforms.Compose([transforms.Resize(37), transforms.CenterCrop(32), transforms.PILToTensor()])
    expected = {}
    for number, size in enumerate(sizes):
        folder = tmp_path / "data" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8))
        picture.save(folder / f"{number}.png")
        expected[number] = usual(picture)
    found = load_images(str(tmp_path / "data"), image_size="32:37")
    ours = sorted(found.pixels.flatten(1).tolist())
    assert ours == sorted(picture.flatten().tolist() for picture in expected.values())
    assert load_images(str(tmp_path / "data"), image_size="28").shape == (3, 28, 28)
    with pytest.raises(
        RobauditError,
        match="pass --image-size with the side that the network takes, such as --image-size 224",
    ):
        load_images(str(tmp_path / "data"))
    for bad in ("0", "a", "224:", "256:224", "9999"):
        with pytest.raises(RobauditError, match="image-size"):
            load_images(str(tmp_path / "data"), image_size=bad)
    with pytest.raises(RobauditError, match="for folders of pictures"):
        load_images("digits", image_size="28")
