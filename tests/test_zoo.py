"""The zoo's list is consistent, its defences keep shapes and do what they are for, and one model is built whole."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from robaudit.inputs import load_classifier, load_images
from robaudit.training import Inner, TrainSettings, preset
from robaudit.verdict import ADVICE
from tests.models import cnn

ZOO = Path(__file__).parent.parent / "examples" / "zoo"


def module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def zoo():
    return module("zoo", ZOO / "zoo.py")


@pytest.fixture(scope="module")
def build():
    return module("build", ZOO / "build.py")


def test_the_list_is_consistent(zoo):
    assert len(zoo.MODELS) >= 24
    for name, entry in zoo.MODELS.items():
        assert sum(key in entry for key in ("train", "fit", "base")) == 1, name
        assert set(entry.get("causes", ())) <= set(ADVICE), name
        assert entry.get("kind", "honest") in {"honest", "masked", "randomised"}
        assert bool(entry.get("causes")) == (entry.get("kind", "honest") != "honest"), name
        others = [
            entry.get("base"),
            entry.get("fit", {}).get("teacher"),
            entry.get("defence", {}).get("decoy"),
        ]
        assert {other for other in others if other} <= set(zoo.MODELS), name
        if "defence" in entry:
            assert entry["defence"]["name"] in zoo.DEFENCES
        if "train" in entry:
            settings = dict(entry["train"])
            settings.pop("steps", None)
            TrainSettings(**{"dataset": "digits", "inner": Inner(), "arch": preset("digits").arch} | settings)


def test_defences_change_the_gradient_and_hardly_the_answer(zoo, monkeypatch):
    network, x = cnn(), torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(zoo, "load", lambda _: cnn(seed=1))
    given = {
        "scaled": {"factor": 1e4}, "quantised": {"levels": 9}, "blocks": {"step": 1e-4},
        "rippled": {"height": 1e-4, "frequency": 1e5}, "hidden": {"decoy": "any"}, "steep_input": {"gain": 200.0},
        "noise": {"sigma": 1e-3}, "resized": {"least": 7},
    }  # fmt: skip
    assert given.keys() == zoo.DEFENCES.keys()
    for name, options in given.items():
        x.requires_grad_()
        logits = zoo.DEFENCES[name](network, **options)(x)
        assert logits.shape == (6, 10), name
        if name in {"rippled", "blocks", "hidden", "noise"}:
            assert torch.allclose(logits, network(x), atol=1e-2), name
        (gradient,) = torch.autograd.grad(logits.sum(), x)
        if name in {"quantised", "blocks"}:
            assert not gradient.any(), name


def test_one_of_its_models_is_built_and_loads_as_a_factory(build, tmp_path, monkeypatch):
    listed = (ZOO / "zoo.toml").read_text(encoding="utf-8").replace("epochs = 60", "epochs = 2")
    monkeypatch.setattr(build, "HERE", tmp_path / "source")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "zoo.toml").write_text(listed, encoding="utf-8")
    (tmp_path / "source" / "zoo.py").write_text(
        (ZOO / "zoo.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    for name in ("digits-k-winners", "digits-pgd-at"):
        monkeypatch.setattr(sys, "argv", ["build.py", str(tmp_path / "zoo"), "--only", name])
        build.main()
    images = load_images("digits", limit=50)
    for name in ("digits_k_winners", "digits_pgd_at", "digits_pgd_at_noise"):
        source = f"{tmp_path / 'zoo' / 'zoo.py'}:{name}"
        model = load_classifier(source, images=images, normalise="none", force=True)
        assert model(images.float()).shape == (50, 10)
