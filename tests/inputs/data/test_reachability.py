"""Fetching by name: a clear error within seconds where there is no network, the cache where it has the file."""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from robaudit.errors import RobauditError
from robaudit.inputs import build_architecture, load_classifier, load_images
from robaudit.inputs.data.reachability import careful, unreachable
from robaudit.inputs.hubs import _hub_file


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> str:
    """An address of this machine at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_one_host_that_answers_suffices(listening: int, closed: str) -> None:
    assert unreachable([closed, f"https://127.0.0.1:{listening}/file"]) == ""
    assert unreachable([closed]).startswith("127.0.0.1 cannot be reached")
    assert "name.invalid" in unreachable(["https://name.invalid/x"])


def test_a_proxy_is_asked_instead_of_the_host(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listening}")
    assert unreachable(["https://name.invalid/x"]) == ""
    monkeypatch.setenv("no_proxy", "name.invalid")
    assert unreachable(["https://name.invalid/x"])


def quickly(call: object, *arguments: object, **options: object) -> str:
    """The message of the error that a call raises within ten seconds."""
    begin = time.monotonic()
    with pytest.raises(RobauditError) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    assert time.monotonic() - begin < 10
    assert str(caught.value).count("\n") == 0
    return str(caught.value)


@pytest.fixture
def hub(tmp_path: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hub that does not answer, and an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("source", ["hf:some/model", "hf:some/model@weights.safetensors"])
def test_no_hub_is_said_within_seconds(hub: Path, source: str) -> None:
    message = quickly(load_classifier, source)
    assert message.startswith(source) and "cannot be reached" in message and "pass a file" in message
    assert not pytest.importorskip("huggingface_hub.constants").HF_HUB_OFFLINE


@pytest.mark.parametrize("source", ["hf:some/model", "hf:some/model@model.safetensors"])
def test_the_cache_serves_without_network(hub: Path, source: str) -> None:
    torch.manual_seed(0)
    network = build_architecture("lenet5", classes=10).eval()
    folder = hub / "models--some--model"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    (folder / "snapshots" / ("a" * 40)).mkdir(parents=True)
    save_file(network.state_dict(), folder / "snapshots" / ("a" * 40) / "model.safetensors")
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(load_classifier(source)(x), network(x), atol=1e-5)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["README.md", "model.safetensors", "other.safetensors"], "model.safetensors"),
        (["config.json", "wrn.pt", "pytorch_model.bin"], "pytorch_model.bin"),
        (["best.ckpt", "LICENSE"], "best.ckpt"),
        (["a.pth", "b.pth"], r"hf:me/it: holds a\.pth, b\.pth; pass hf:me/it@FILE"),
        (["README.md"], r"hf:me/it: holds no checkpoint"),
    ],
)
def test_the_file_of_a_repository(names: list[str], expected: str) -> None:
    hub = SimpleNamespace(
        constants=SimpleNamespace(HF_HUB_OFFLINE=False),
        HfApi=lambda: SimpleNamespace(list_repo_files=lambda owner: names),
    )
    if expected in names:
        assert _hub_file(hub, "me/it", "hf:me/it") == expected
    else:
        with pytest.raises(RobauditError, match=expected):
            _hub_file(hub, "me/it", "hf:me/it")


def test_torchvision_weights_without_network(
    tmp_path: Path, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchvision.models")  # its import is not to be timed
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("https_proxy", closed)
    message = quickly(load_classifier, "torchvision:resnet18")
    assert message.startswith("torchvision:resnet18") and "cannot be reached" in message


@pytest.mark.parametrize("name", ["cifar10", "mnist", "fashion-mnist", "svhn"])
def test_a_data_set_without_network(
    tmp_path: Path, closed: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pytest.importorskip("torchvision.datasets")
    monkeypatch.setenv("https_proxy", closed)
    monkeypatch.setenv("http_proxy", closed)
    message = quickly(load_images, name, data_dir=tmp_path / "none", download=True)
    assert message.startswith(name) and "--data-dir" in message and "cannot be reached" in message
    assert not (tmp_path / "none").exists()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return os.putenv, ("ROBAUDIT_CANARY", "1")


def test_others_code_unpickles_weights_only(tmp_path: Path) -> None:
    torch.save(Evil(), tmp_path / "a.pt")
    before = dict(os.environ)
    with careful(), pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "a.pt", weights_only=False)
    assert dict(os.environ) == before and socket.getdefaulttimeout() is None
