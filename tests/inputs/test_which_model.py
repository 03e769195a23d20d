"""The network that is audited is the one the user has: of several in a file, as printed, in any precision."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robaudit.errors import RobauditError
from robaudit.escaping import plain
from robaudit.inputs import (
    ARCHITECTURES,
    Images,
    build_architecture,
    is_factory,
    load_classifier,
    load_images,
)
from robaudit.inputs.files.several import averages_beside, twins
from robaudit.inputs.files.state_dicts import choose_states
from robaudit.inputs.filling import fitting
from robaudit.inputs.hubs import CATALOGUES
from robaudit.inputs.networks.families import parse, text_of, varied
from robaudit.inputs.networks.family import Family
from robaudit.inputs.recovery.catalogue import build_catalogue
from robaudit.inputs.recovery.catalogue_index import INDEX

State = dict[str, torch.Tensor]
FACTORY = """
import torch
from torch import nn
def net():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))
def one():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
class Answers(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.net, self.kind = net(), kind
    def forward(self, x):
        return self.net(x).to(self.kind)
def half_out(): return Answers(torch.float16)
def bfloat_out(): return Answers(torch.bfloat16)
def double_out(): return Answers(torch.float64)
class Casting(Answers):
    def forward(self, x):
        return self.net(x.to(self.kind))
def casting(): return Casting(torch.float16)
def half(): return net().half()
def double(): return net().double()
"""


def small(seed: int = 0) -> nn.Module:
    """What the factory makes."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10)).eval()


def behind(prefix: str, state: State) -> State:
    return {f"{prefix}.{key}": tensor for key, tensor in state.items()}


@pytest.fixture
def factory(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(FACTORY)
    return f"{tmp_path / 'mine.py'}:net"


@pytest.fixture(scope="module")
def digits() -> Images:
    return load_images("digits")


def fitted(network: nn.Module, steps: int = 30) -> nn.Module:
    """A network that has seen some digits."""
    train = load_images("digits", split="train")
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(train.float()), train.labels).backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


# --- what is printed is accepted ---


def test_no_name_that_the_loader_prints_is_taken_for_code() -> None:
    names = {name for names in json.loads(INDEX.read_text()).values() for name in names}
    assert any(name.startswith("timm:") for name in names) and len(names) > 500
    assert not [name for name in names if is_factory(name)]
    assert not [kind for kind in CATALOGUES if is_factory(f"{kind}:resnet18")]
    assert is_factory("my.module:net") and is_factory("/x/timm.py:net") and is_factory("mynets:build")


#: A text of each family.
FAMILY_TEXTS = (
    *ARCHITECTURES, "densenet:growth=12,blocks=2-2,stem=24,transitions=24,neck=48", "ensemble:3*resnet20",
    "residual:widths=16-24-32-48,depths=1-2-1-1,stem=16-7-2,stem_pool=yes", "transformers:vit", "timm:test_vit",
    "vit:width=16,depth=2,heads=2,inner=16,hidden=24,patch=4,eps=1e-12", "sequential:conv8k3p1 gelu max2 flatten fcK",
)  # fmt: skip


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_the_search_comes_to_is_read_again(data: st.DataObject) -> None:
    """Every text that a plan prints is that plan's, one line, and no code."""
    plan = parse(data.draw(st.sampled_from(FAMILY_TEXTS)))
    for _ in range(data.draw(st.integers(0, 4))):
        others = [
            other for vary in (Family.neighbours, Family.combinations) for other, _ in varied(plan, vary)
        ]
        plan = data.draw(st.sampled_from(others)) if others else plan
    text = text_of(plan)
    assert parse(text) == plan and text_of(parse(text)) == text
    assert not is_factory(text) and plain(text) == text


@pytest.mark.parametrize("name", ["torchvision:mnasnet0_5", "torchvision:squeezenet1_1"])
def test_a_catalogue_s_network_is_found_again_by_what_was_printed(tmp_path: Path, name: str) -> None:
    torch.save(build_catalogue(*name.split(":"), 10, 3).state_dict(), tmp_path / "a.pth")
    found = load_classifier(str(tmp_path / "a.pth")).info
    assert found.architecture == name
    again = load_classifier(str(tmp_path / "a.pth"), arch=name, normalise=found.normalisation).info
    assert again.digest == found.digest


@pytest.mark.parametrize(
    "text",
    [
        "resnet20", "preactresnet18:widths=4-8-8-8", "wrn-10-1", "cnn6", "lenet5", "vgg11_bn", "dla-simple",
        "sequential:conv8k3p1 gelu max2 flatten fcK",
    ],
)  # fmt: skip
def test_our_own_are_found_again_by_what_was_printed(tmp_path: Path, text: str) -> None:
    torch.manual_seed(0)
    torch.save(build_architecture(text, classes=10).state_dict(), tmp_path / "a.pth")
    found = load_classifier(str(tmp_path / "a.pth"), shape=(3, 32, 32)).info
    assert not is_factory(found.architecture)
    again = load_classifier(
        str(tmp_path / "a.pth"), arch=found.architecture, normalise=found.normalisation, shape=(3, 32, 32)
    ).info
    assert (again.architecture, again.digest) == (found.architecture, found.digest)


# --- several networks in one file ---


TWO = {**behind("net", small(0).state_dict()), **behind("proxy", small(1).state_dict())}


def test_two_networks_in_one_file_are_refused_by_name_and_chosen_by_key(tmp_path: Path, factory: str) -> None:
    path = tmp_path / "two.pt"
    torch.save({"state_dict": TWO, "epoch": 3}, path)
    x = torch.rand(2, 1, 8, 8)
    for arch, names in ((factory, "net, proxy"), (None, r"state_dict\.net, state_dict\.proxy")):
        with pytest.raises(RobauditError, match=rf"holds 2 networks.*{names}\); --key chooses one"):
            load_classifier(str(path), arch=arch, shape=(1, 8, 8))
        for key, seed in (("net", 0), ("proxy", 1), ("state_dict.proxy", 1)):
            found = load_classifier(str(path), arch=arch, key=key, shape=(1, 8, 8), normalise="none")
            assert torch.allclose(found(x), small(seed)(x), atol=1e-5) and found.info.key == key
    with pytest.raises(RobauditError, match="--key other: not in"):
        load_classifier(str(path), arch=factory, key="other")


def test_what_is_loaded_depends_on_no_hash_seed(tmp_path: Path, factory: str) -> None:
    same = {**behind("net", small().state_dict()), **behind("proxy", small().state_dict())}
    torch.save(TWO, tmp_path / "two.pt")
    torch.save(same | {"proxy.extra": torch.zeros(3)}, tmp_path / "same.pt")
    code = (
        "import sys\nfrom robaudit.inputs import load_classifier\nfrom robaudit.errors import RobauditError\n"
        "for path in sys.argv[2:]:\n"
        "    try:\n        print(load_classifier(path, arch=sys.argv[1], shape=(1, 8, 8)).info.digest)\n"
        "    except RobauditError as error:\n        print(error)\n"
    )
    arguments = [sys.executable, "-c", code, factory, str(tmp_path / "two.pt"), str(tmp_path / "same.pt")]
    running = [
        subprocess.Popen(
            arguments, env=os.environ | {"PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True
        )
        for seed in ("0", "1", "3")
    ]
    answers = {process.communicate(timeout=120)[0] for process in running}
    assert len(answers) == 1 and "--key chooses one" in answers.pop()


def test_parts_of_one_network_are_no_networks() -> None:
    torch.manual_seed(0)
    for text in ("resnet20", "cnn6", "preactresnet18:widths=4-8-8-8", "dpn26"):
        assert twins(build_architecture(text, classes=10).state_dict()) == {}
    ensemble = {**behind("models.0", small().state_dict()), **behind("models.1", small(1).state_dict())}
    assert twins(ensemble) == {}
    assert list(twins({**TWO, "mean": torch.zeros(1), "proxy.module.x": torch.zeros(1)})) == []
    assert list(twins({**TWO, "mean": torch.zeros(1)})) == ["net", "proxy"]


@pytest.mark.parametrize(
    "names", [("model", "ema_model.module"), ("net", "swa_net"), ("module", "module_ema")]
)
def test_averages_are_known_by_their_names(names: tuple[str, str]) -> None:
    plain, average = names
    state = {**behind(plain, small().state_dict()), **behind(average, small(1).state_dict())}
    chosen, aside = choose_states({"state_dict": state}, "x", None)
    assert list(chosen) == [f"state_dict.{plain}"]
    found = averages_beside(f"state_dict.{plain}", {"state_dict": state}, aside)
    assert found == [f"state_dict.{average.partition('.')[0]}"]


@pytest.mark.parametrize("layout", ["dicts", "prefixes", "a nameless list"])
@pytest.mark.parametrize("better", ["ema", "plain"])
def test_an_average_beside_the_weights_is_compared_on_images(
    tmp_path: Path, factory: str, digits: Images, layout: str, better: str
) -> None:
    good = fitted(small()).state_dict()
    poor = fitted(small(), 6).state_dict()
    plain, ema = (poor, good) if better == "ema" else (good, poor)
    tree = {"model": plain, "ema": ema}
    if layout == "prefixes":
        tree = {**behind("model", plain), **behind("ema_model", ema)}
    if layout == "a nameless list":  # as torch_ema writes it
        shadow = [value for name, value in ema.items() if name in dict(small().named_parameters())]
        tree["ema"] = {"decay": 0.9, "num_updates": 100, "shadow_params": shadow, "collected_params": None}
    torch.save(tree, tmp_path / "a.pt")
    found = load_classifier(str(tmp_path / "a.pt"), arch=factory, normalise="none", images=digits, force=True)
    expected = small()
    expected.load_state_dict(good)
    assert torch.allclose(found(digits.float()), expected(digits.float()), atol=1e-4)
    assert ("ema" in found.info.key) == (better == "ema")
    assert any("the plain weights are right on" in note and "took" in note for note in found.info.notes)
    again = load_classifier(
        str(tmp_path / "a.pt"), arch=factory, normalise="none", key=found.info.key or None, shape=digits.shape
    )
    assert again.info.digest == found.info.digest


@pytest.mark.parametrize(
    "prefix",
    ["", "model.", "model._orig_mod.", "module.model.", "_orig_mod.module.net.", "a.b.c."],
)
def test_whatever_stands_before_all_names_is_cut(prefix: str) -> None:
    own = small().state_dict()
    state = {prefix + key: tensor for key, tensor in small(1).state_dict().items()}
    state |= {"criterion.weight": torch.ones(10), "0.other": torch.ones(1)}
    ((_, found),) = fitting(own, state).items()
    assert all(torch.equal(found[key], tensor) for key, tensor in small(1).state_dict().items())


def test_wrappers_are_cut_in_the_middle_of_names_too() -> None:
    inner = {f"features._orig_mod.{key}": tensor for key, tensor in small(1).state_dict().items()}
    own = {f"features.{key}": tensor for key, tensor in small().state_dict().items()}
    ((_, found),) = fitting(own, inner).items()
    assert len(found) == len(own)


def test_what_does_not_fit_a_factory_is_named(tmp_path: Path, factory: str) -> None:
    state = {**small().state_dict(), "3.weight": torch.zeros(10, 70)}
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(RobauditError, match=r"3\.weight is \(10, 70\), the network's \(10, 72\)"):
        load_classifier(str(tmp_path / "a.pt"), arch=factory)


# --- precision, one output, fewer classes ---


@pytest.mark.parametrize("name", ["half_out", "bfloat_out", "double_out", "half", "double"])
def test_any_precision_is_audited_in_float32(tmp_path: Path, factory: str, name: str) -> None:
    source = factory.replace(":net", f":{name}")
    torch.manual_seed(0)
    found = load_classifier(source, shape=(1, 8, 8), normalise="none")
    logits = found(torch.rand(3, 1, 8, 8))
    assert logits.dtype == torch.float32 and logits.shape == (3, 10)
    torch.save(
        behind("net", small().state_dict()) if "out" in name else small().state_dict(), tmp_path / "a.pt"
    )
    filled = load_classifier(str(tmp_path / "a.pt"), arch=source, shape=(1, 8, 8), normalise="none")
    x = torch.rand(2, 1, 8, 8)
    assert torch.allclose(filled(x), small()(x), atol=2e-2)


def test_one_output_is_two_classes(tmp_path: Path, factory: str) -> None:
    torch.manual_seed(0)
    network = build_architecture("digits-cnn", classes=1, in_channels=1, image_size=8).eval()
    torch.save(network.state_dict(), tmp_path / "a.pt")
    x = torch.rand(3, 1, 8, 8)
    found = load_classifier(str(tmp_path / "a.pt"), shape=(1, 8, 8), normalise="none")
    expected = torch.cat([torch.zeros(3, 1), network(x)], 1)
    assert torch.allclose(found(x), expected, atol=1e-5) and found.info.classes == 2
    assert any("logits (0, z) of two classes" in note for note in found.info.notes)


def test_data_may_have_fewer_classes_than_the_network(tmp_path: Path, factory: str, digits: Images) -> None:
    torch.save(fitted(small()).state_dict(), tmp_path / "a.pt")
    rows = digits.labels < 8
    fewer = replace(
        digits, pixels=digits.pixels[rows], labels=digits.labels[rows], ids=digits.ids[rows], classes=8
    )
    found = load_classifier(str(tmp_path / "a.pt"), arch=factory, normalise="none", images=fewer)
    assert found.info.classes == 10
    shifted = replace(digits, labels=digits.labels + 1, classes=11)
    with pytest.raises(RobauditError, match="labels run from 1 to 10: subtract 1"):
        load_classifier(str(tmp_path / "a.pt"), arch=factory, images=shifted)
    mixed = replace(fewer, labels=(fewer.labels + 3) % 8)
    with pytest.raises(RobauditError, match=r"has 10 classes, the data 8: a classes\.json"):
        load_classifier(str(tmp_path / "a.pt"), arch=factory, normalise="none", images=mixed)


@pytest.mark.parametrize(
    "extra",
    [
        {"temperature": torch.ones(1, 1, 1, 1)},
        {"shift": torch.zeros(1, 3, 1, 1), "t": torch.ones(1, 1, 1, 1)},
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_numbers_in_the_shape_of_images_are_no_layers(tmp_path: Path, extra: State, first: bool) -> None:
    torch.manual_seed(0)
    network = build_architecture("resnet20", classes=10).eval()
    state = network.state_dict()
    torch.save({**extra, **state} if first else {**state, **extra}, tmp_path / "a.pt")
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(load_classifier(str(tmp_path / "a.pt"))(x), network(x), atol=1e-5)


def test_a_factory_that_runs_out_of_memory_is_not_the_data_set_s_fault(tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text(
        "import torch\nfrom torch import nn\nclass Big(nn.Module):\n"
        "    def forward(self, x):\n        raise torch.OutOfMemoryError('CUDA out of memory. Tried')\n"
        "def net(): return Big()\n"
    )
    with pytest.raises(RobauditError, match="memory does not hold one example"):
        load_classifier(f"{tmp_path / 'big.py'}:net", shape=(1, 8, 8))


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "pytorch_model-00012-of-00012.bin"])
def test_a_part_of_a_network_is_not_taken_for_one(tmp_path: Path, name: str) -> None:
    torch.save(small().state_dict(), tmp_path / name)
    with pytest.raises(RobauditError, match=r"is one of (2|12) parts of a network"):
        load_classifier(str(tmp_path / name))
    torch.save(small().state_dict(), tmp_path / "model-00001-of-00001.bin")
    assert load_classifier(str(tmp_path / "model-00001-of-00001.bin"), shape=(1, 8, 8)).info.classes == 10


def test_a_network_that_casts_its_images_itself_is_told_so(factory: str) -> None:
    with pytest.raises(RobauditError, match="let it compute in float32"):
        load_classifier(factory.replace(":net", ":casting"), shape=(1, 8, 8))
