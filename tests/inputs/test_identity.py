"""What a model is: the same content is the same model, and whatever changes its answers makes another."""

import time

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robaudit.inputs import load_classifier, module_digest
from tests.models import cnn

NET = """
import torch
from torch import nn
from part import scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(640.0).reshape(10, 64).sin())
        self.power = 1

    def forward(self, x):
        return scale(x.flatten(1) @ self.weight.T)


def build():
    return Net()
"""
PART = "def scale(x):\n    return x * 1.0\n"


@pytest.fixture
def factory(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "part.py").write_text(PART)
    return tmp_path


def digest(source, **settings):
    return load_classifier(str(source), shape=(1, 8, 8), **settings).info.digest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("net.py", "x.flatten(1) @", "x.flatten(1) * x.flatten(1) @"),
        ("net.py", ".sin()", ".cos()"),
        ("net.py", "self.power = 1", "self.power = 2"),
        ("part.py", "x * 1.0", "x * 2.0"),
    ],
)
def test_an_edited_factory_is_another_model(factory, file, old, new):
    before = digest(f"{factory / 'net.py'}:build")
    assert digest(f"{factory / 'net.py'}:build") == before
    path = factory / file
    path.write_text(path.read_text().replace(old, new))
    assert digest(f"{factory / 'net.py'}:build") != before


def test_a_factory_is_the_same_wherever_it_lies(factory, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("net.py", "part.py"):
        (elsewhere / name).write_text((factory / name).read_text())
    assert digest(f"{elsewhere / 'net.py'}:build") == digest(f"{factory / 'net.py'}:build")


def test_the_code_that_runs_is_the_code_that_is_digested(factory):
    """An edit within a second, of the same length: bytecode kept beside the source would hide it."""
    x = torch.ones(1, 1, 8, 8)
    before = load_classifier(f"{factory / 'net.py'}:build", shape=(1, 8, 8))(x)
    (factory / "part.py").write_text(PART.replace("1.0", "3.0"))
    after = load_classifier(f"{factory / 'net.py'}:build", shape=(1, 8, 8))(x)
    assert torch.allclose(after, 3 * before)


def test_a_key_chooses_another_model_of_the_same_file(tmp_path):
    path = tmp_path / "two.pt"
    torch.save({"model": cnn(seed=0).state_dict(), "ema": cnn(seed=1).state_dict()}, path)
    first, second = (load_classifier(str(path), key=key, shape=(1, 8, 8)).info for key in ("model", "ema"))
    assert first.sha256 == second.sha256
    assert first.digest != second.digest
    assert (first.key, second.key) == ("model", "ema")


def test_the_same_tensors_are_the_same_model_in_any_container(tmp_path):
    state = cnn().state_dict()
    torch.save(state, tmp_path / "a.pt")
    save_file(state, tmp_path / "b.safetensors")
    first, second = (
        load_classifier(str(tmp_path / name), shape=(1, 8, 8)).info for name in ("a.pt", "b.safetensors")
    )
    assert first.sha256 != second.sha256
    assert first.digest == second.digest


def test_normalisation_and_one_weight_make_another(tmp_path):
    state = cnn().state_dict()
    torch.save(state, tmp_path / "a.pt")
    plain = digest(tmp_path / "a.pt", normalise="none")
    assert digest(tmp_path / "a.pt", normalise="0.5/0.5") != plain
    state["0.weight"][0, 0, 0, 0] += 1e-6
    torch.save(state, tmp_path / "b.pt")
    assert digest(tmp_path / "b.pt", normalise="none") != plain


def test_code_of_a_users_own_for_a_files_tensors_counts(factory, tmp_path):
    (factory / "own.py").write_text(NET)
    torch.save({"weight": torch.randn(10, 64)}, tmp_path / "w.pt")
    before = digest(tmp_path / "w.pt", arch=f"{factory / 'own.py'}:build")
    (factory / "part.py").write_text(PART.replace("1.0", "2.0"))
    assert digest(tmp_path / "w.pt", arch=f"{factory / 'own.py'}:build") != before


def test_a_catalogues_model_is_told_by_its_tensors(monkeypatch):
    from robaudit.inputs import hubs

    seeds = iter((0, 0, 1))
    fetched = lambda _: (cnn(seed=next(seeds)), None, [], None)  # noqa: E731
    monkeypatch.setitem(hubs.CATALOGUES, "timm", fetched)
    found = [digest("timm:small") for _ in range(3)]
    assert found[0] == found[1] != found[2]


def test_a_module_in_memory_is_told_by_its_code_too():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Tripled(nn.Linear):
        def forward(self, x):
            return 3 * super().forward(x)

    Tripled.__name__ = Tripled.__qualname__ = Doubled.__qualname__
    first = Doubled(4, 2)
    second = Tripled(4, 2)
    second.load_state_dict(first.state_dict())
    assert module_digest(first) != module_digest(second)
    second.__class__ = Doubled
    assert module_digest(first) == module_digest(second)


def test_a_large_model_is_digested_quickly():
    module = nn.Linear(5000, 5000)  # 100 MB
    started = time.perf_counter()
    module_digest(module)
    assert time.perf_counter() - started < 2.0  # 0.1 s on one core; others may be at work on it
