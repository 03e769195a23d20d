"""`--device` on the command line, and files that were saved on an accelerator."""

import json
import zipfile

import torch

from robaudit.cli import run
from robaudit.inputs import load_classifier
from tests.accelerator.pretend import NAME, pretending
from tests.cli.helpers import QUICK, assert_clear, check
from tests.shipped import ADVERSARIAL, DISTILLED


def test_auto_takes_the_accelerator_that_there_is(tmp_path, capsys):
    found = tmp_path / "found.json"
    common = [DISTILLED, "--dataset", "digits", "--limit", "16", "--attacks", "pgd10,square", *QUICK]
    with pretending():
        code = check(*common, "--json", found, "--evidence", tmp_path / "a")
        assert run(["verify", str(tmp_path / "a"), str(DISTILLED), "--device", "auto"]) == code
    assert json.loads(found.read_text())["cost"]["device"] == f"{NAME} (Pretend 1)"
    assert check(*common, "--evidence", tmp_path / "b", "--device", "auto") == code
    assert run(["verify", str(tmp_path / "a"), str(DISTILLED)]) == code
    capsys.readouterr()


def test_an_accelerator_that_is_absent_is_one_line(capsys):
    for name in (NAME, "cuda", "xpu", "nonsense"):
        assert_clear(capsys, check(ADVERSARIAL, "--dataset", "digits", "--device", name), f"device '{name}'")


def test_a_checkpoint_saved_on_an_accelerator_loads_without_one(tmp_path):
    """The same file, whose storages say that they were CUDA's."""
    expected = load_classifier(str(ADVERSARIAL)).network.state_dict()
    torch.save({"state_dict": expected}, tmp_path / "here.pt")
    with zipfile.ZipFile(tmp_path / "here.pt") as old, zipfile.ZipFile(tmp_path / "there.pt", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in data
                data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            new.writestr(name, data)
    found = load_classifier(str(tmp_path / "there.pt")).network.state_dict()
    assert [tensor.device.type for tensor in found.values()] == ["cpu"] * len(found)
    assert sum(map(torch.Tensor.numel, found.values())) == sum(map(torch.Tensor.numel, expected.values()))
