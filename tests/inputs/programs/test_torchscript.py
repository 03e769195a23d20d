"""TorchScript archives are data: what their code may name, what is never run, and what is left to torch."""

from __future__ import annotations

import ast
import contextlib
import os
import pickle
import zipfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier
from robaudit.inputs.programs.network import ProgramNetwork
from robaudit.inputs.programs.torchscript import evaluation
from robaudit.inputs.programs.torchscript.archive import Class, Script
from robaudit.inputs.programs.torchscript.objects import Instance, UnreadError
from tests.inputs.files.hostile import CANARY, Evil

pytestmark = pytest.mark.filterwarnings("ignore")
X = torch.rand(3, 3, 8, 8)


def loaded(path: Path) -> Any:
    return load_classifier(str(path), normalise="none", shape=(3, 8, 8), force=True).network


def script(body: str) -> Script:
    """A script whose model's forward function has this body."""
    definition = ast.parse(
        "def forward(self, x):\n" + "\n".join(f"  {line}" for line in body.splitlines())
    ).body[0]
    assert isinstance(definition, ast.FunctionDef)
    root = Instance("__torch__.Net")
    return Script(root, (), {"__torch__.Net": Class({"forward": definition}, {})}, {})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "total = 0\nfor i in range(4):\n  if torch.gt(i, 1):\n    total = torch.add(total, i)\nreturn total",
            5,
        ),
        ("a, b = (1, 2)\nreturn [a, b, -1][torch.neg(1)]", -1),
        ("i = 0\nwhile torch.lt(i, 3):\n  i = torch.add(i, 1)\nreturn annotate(int, i)", 3),
        ("y = torch.size(x)\nreturn torch.len(y)", 2),
        ("return int(ops.prim.NumToTensor(torch.size(x, 0)))", 2),
        ("return 3 if torch.__is__(None, None) else 4", 3),
    ],
)
def test_the_language(body: str, expected: Any) -> None:
    assert evaluation.Evaluator(script(body)).forward(torch.zeros(2, 3)) == expected


@pytest.mark.parametrize(
    "body",
    [
        "return open('/etc/passwd')",
        "return __import__('os').system('true')",
        "return eval('1')",
        "return torch.save(x, '/tmp/x')",
        "return torch.from_file('/etc/passwd')",
        "return ops.mine.run(x)",
        "return x.__class__",
        "return getattr(x, '__class__')",
        "return self.forward.__globals__",
        "return (lambda: 1)()",
        "return [i for i in range(3)]",
        "import os",
        "def f():\n  return 1",
        "self.y = x\nreturn x",
        "return __torch__.os.system('true')",
        "return forward(x)",
        "return torch.manual_seed(0)",
        "while True:\n  pass",
        "return (self).forward(x, )",
    ],
)
def test_nothing_else_can_be_named(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(evaluation, "STEPS", 20_000)
    with pytest.raises((UnreadError, RobauditError)):
        evaluation.Evaluator(script(body)).forward(torch.zeros(2, 3))


@pytest.mark.parametrize(
    "body",
    [
        "return torch.zeros([100000, 100000, 100000])",
        "return torch.matmul(torch.ones([100000, 1]), torch.ones([1, 100000]))",
        "return torch.add(torch.ones([100000, 1]), torch.ones([100000]))",
        "return torch.expand(torch.ones([1]), [1000000, 1000000])",
        "return torch.repeat(torch.ones([1000]), [1000, 1000])",
        "return torch.conv2d(torch.ones([1, 1, 8, 8]), torch.ones([1, 1, 1, 1]), None, [1, 1], [90000, 90000])",
        "return torch.arange(1000000000000)",
        "return torch.einsum('a,b,c->abc', [torch.ones([9999]), torch.ones([9999]), torch.ones([9999])])",
    ],
)
def test_too_large_tensors_are_refused_before_they_are_allocated(body: str) -> None:
    from robaudit.inputs.programs.limits import BoundedSizes

    with pytest.raises(RobauditError, match="too large"), BoundedSizes():
        evaluation.Evaluator(script(body)).forward(torch.zeros(2, 3))


@pytest.mark.parametrize(
    "body",
    [
        "return torch.mul([0], 1000000000000)",
        "return torch.mul('a', 1000000000000)",
        "return torch.list(range(1000000000000))",
        "y = [0]\nfor i in range(60):\n  y = torch.add(y, y)\nreturn y",
        "y = 3\nfor i in range(60):\n  y = torch.mul(y, y)\nreturn y",
        "return torch.pow(10, 1000000000)",
        "return torch.abs(x, out=x)",
        "y = [0]\nz = [0]\nfor i in range(60):\n  y = [y, y]\n  z = [z, z]\nreturn torch.eq(y, z)",
        "y = [0]\nfor i in range(60):\n  y = [y, y]\nreturn torch.tensor(y)",
    ],
)
def test_too_long_lists_and_too_large_numbers_are_refused(body: str) -> None:
    with pytest.raises((RobauditError, UnreadError, OverflowError)):
        evaluation.Evaluator(script(body)).forward(torch.zeros(2, 3))


class Remembers(nn.Module):
    """Its state is restored by code of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(192, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.fc.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.training = state[1]


def test_code_that_would_run_while_loading_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Remembers()), str(tmp_path / "a.pt"))
    with pytest.raises(RobauditError, match="__setstate__"):
        loaded(tmp_path / "a.pt")


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for record in old.infolist():
            new.writestr(record.filename, change(record.filename, old.read(record)))


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    torch.jit.save(torch.jit.trace(network, X), str(tmp_path / "a.pt"))
    evil = pickle.dumps(Evil(os.putenv, CANARY, "1"), protocol=2)
    rewritten(
        tmp_path / "a.pt", tmp_path / "b.pt", lambda name, data: evil if name.endswith("data.pkl") else data
    )
    with pytest.raises(RobauditError):
        loaded(tmp_path / "b.pt")
    assert CANARY not in os.environ


class Mutates(nn.Module):
    """Uses a tensor again that it has overwritten: what is read as data cannot follow that."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(192, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x.flatten(1))
        z = y[:, 1:]
        y.mul_(2)
        return torch.cat([z, y[:, :1]], 1)


class Chooses(nn.Module):
    """Decides by an image's numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.flatten(1)[:, :10]
        if float(y.sum()) > 0:
            return y * 2
        return y


@pytest.mark.parametrize("network", [Mutates(), Chooses()], ids=lambda network: type(network).__name__)
def test_what_cannot_be_followed_is_refused_unless_the_user_trusts_it(
    tmp_path: Path, network: nn.Module
) -> None:
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.script(network.eval()), str(path))
    with pytest.raises(RobauditError, match=r"\n.*--trust-program.*your rights"):
        loaded(path)
    found = load_classifier(str(path), normalise="none", shape=(3, 8, 8), force=True, trust_program=True)
    assert isinstance(found.network, torch.jit.ScriptModule)
    assert "--trust-program" in found.info.notes[0]
    assert torch.allclose(found(X), network(X), atol=1e-5)


def test_the_interpreter_is_never_asked_without_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("torch.jit.load"))
    for number, network in enumerate((Mutates(), Chooses(), Remembers(), Grows())):
        path = tmp_path / f"{number}.pt"
        torch.jit.save(torch.jit.script(network.eval()), str(path))
        with contextlib.suppress(RobauditError):
            loaded(path)


class Grows(nn.Module):
    """In-place operations that nothing looks behind."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(192, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x.flatten(1)).relu_()
        y += 1
        y *= 2
        return y


def test_in_place_operations_that_nothing_looks_behind(tmp_path: Path) -> None:
    network = Grows().eval()
    torch.jit.save(torch.jit.script(network), str(tmp_path / "a.pt"))
    found = loaded(tmp_path / "a.pt")
    assert isinstance(found, ProgramNetwork)
    assert torch.allclose(found(X), network(X), atol=1e-5)


def test_only_learned_numbers_are_counted_before_the_shape_is_known(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10)).eval()
    torch.jit.save(torch.jit.trace(network, X), str(tmp_path / "a.pt"))
    classifier = load_classifier(str(tmp_path / "a.pt"))
    assert classifier.info.parameters == sum(p.numel() for p in network.parameters())
    assert torch.allclose(classifier(X), network(X), atol=1e-5)


def test_a_model_saved_in_training_mode_is_evaluated(tmp_path: Path) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 10)
    ).train()
    torch.jit.save(torch.jit.script(network), str(tmp_path / "a.pt"))
    found = loaded(tmp_path / "a.pt")
    assert isinstance(found, ProgramNetwork)
    assert torch.allclose(found(X), network.eval()(X), atol=1e-5)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Both(NamedTuple):
    logits: torch.Tensor
    extra: torch.Tensor


class Rich(nn.Module):
    """Enumerations, tuples with names, tables, masks written piece by piece, types that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(192, 10)
        self.colour = Colour.BLUE
        self.table = {"a": 1}

    def forward(self, x: torch.Tensor) -> Both:
        mask = torch.zeros(8, 8)
        mask[2:, :3] = 1.0
        mask[:4, 5:] += 2.0
        y = self.fc((x * mask).flatten(1))
        values = [y, y * 2]
        if isinstance(values, list) and self.colour == Colour.BLUE:
            y = torch.addcmul(y, values[0], values[1], value=0.5)
        return Both(y, y[:, :3])


def test_the_richer_language(tmp_path: Path) -> None:
    network = Rich().eval()
    torch.jit.save(torch.jit.script(network), str(tmp_path / "a.pt"))
    found = load_classifier(str(tmp_path / "a.pt"), normalise="none", shape=(3, 8, 8), classes=10)
    assert torch.allclose(found(X), network(X).logits, atol=1e-5)
    assert "output 'logits' is audited, the only one of 10 columns" in found.info.notes[0]
    with pytest.raises(RobauditError, match=r"gives \(1, 10\), \(1, 3\) for 1 images") as refused:
        loaded(tmp_path / "a.pt")
    assert "--trust-program" not in str(refused.value)


@pytest.mark.parametrize("name", ["swin_t", "googlenet", "vit_b_32"])
@pytest.mark.parametrize("how", ["traced", "scripted"])
@pytest.mark.heavy
def test_torchvision_reads_as_data(tmp_path: Path, name: str, how: str) -> None:
    import torchvision

    settings = {"googlenet": {"init_weights": False}, "vit_b_32": {"image_size": 64}}.get(name, {})
    network = getattr(torchvision.models, name)(num_classes=10, **settings).eval()
    x = torch.rand(2, 3, 64, 64)
    made = torch.jit.script(network) if how == "scripted" else torch.jit.trace(network, x, check_trace=False)
    torch.jit.save(made, str(tmp_path / "a.pt"))
    found = load_classifier(str(tmp_path / "a.pt"), normalise="none", shape=(3, 64, 64), force=True)
    assert isinstance(found.network, ProgramNetwork)
    assert torch.allclose(found(x), network(x), atol=1e-4)
