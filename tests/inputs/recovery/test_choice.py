"""The choice among candidates: the same whatever the load, on counts that only the network's size sets."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs import Images, build_architecture, load_classifier, load_images, make_images
from robaudit.inputs.networks.families import parse
from robaudit.inputs.networks.family import RARE
from robaudit.inputs.normalisation import Normalise, parse_normalisation, usual_normalisations
from robaudit.inputs.recovery import climbing
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.choice import ModelRequest, _notes, decide
from robaudit.inputs.recovery.members import _from_a_fit
from robaudit.inputs.recovery.scoring import (
    PRICE_WORTH,
    WRONG_NATS,
    Choice,
    accuracy_gap,
    calibrated_losses,
    loss_gap,
    preferred,
    standard_errors,
)
from robaudit.inputs.recovery.search import choose
from robaudit.inputs.recovery.trials import FIRST_LAP_IMAGES, Trial, multiplications
from robaudit.stats import near_chance

NONE = parse_normalisation("none", 1)


class Right(nn.Module):
    """Right on every image whose first pixel is below a level; class 0 else wrong."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        right = x[:, 0, 0, 0] < self.level
        return torch.stack([~right, right], 1).float()


def numbered(count: int = 1000) -> Images:
    """Images of class 1 whose first pixels are the golden ratio's multiples modulo 1: level all along."""
    pixels = (torch.arange(count) * 0.6180339887 % 1).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return make_images(pixels, torch.ones(count), name="some", split="test", classes=2)


def runner(level: float, price: float = 0.0) -> Candidate:
    return Candidate(f"level{level}", (), 1, 2, 2, price, Right(level))


def test_a_race_drops_the_clearly_worse_early_and_keeps_the_level() -> None:
    trial = Trial(numbered(), count=1000)
    pairs = [(runner(level), NONE) for level in (0.1, 0.85, 0.9, 0.3)]
    race = trial.race(pairs, 512)
    assert [choice.candidate.text for choice in race[:1]] == ["level0.9"]
    tried = {choice.candidate.text: choice for choice in trial.tried.values() if choice}
    lengths = {name: len(choice) for name, choice in tried.items()}
    assert lengths["level0.9"] == 512 and lengths["level0.1"] <= 4 * FIRST_LAP_IMAGES
    assert lengths["level0.3"] <= 4 * FIRST_LAP_IMAGES
    for name, choice in tried.items():
        # the sequence's discrepancy on 8 images
        assert choice.accuracy == pytest.approx(float(name.removeprefix("level")), abs=0.1)


def test_the_gap_of_accuracy_is_the_sign_test() -> None:
    trial = Trial(numbered())
    low, high = (trial.answers((runner(level), NONE), 400) for level in (0.5, 0.75))
    assert low and high
    between = int(
        ((numbered().pixels[:400, 0, 0, 0] >= 0.5) & (numbered().pixels[:400, 0, 0, 0] < 0.75)).sum()
    )
    assert accuracy_gap(low, high) == pytest.approx(between / between**0.5)


def seen(spec: str, logits: torch.Tensor, labels: torch.Tensor, price: float = 0.0) -> Choice:
    return Choice(Candidate(parse(spec), (), 1, 8, 2, 0.0), NONE, logits, labels, price)


def test_the_gap_of_losses_is_a_paired_test_of_which_few_images_never_prove_much() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    good = torch.randn(400, 2, generator=generator) + 3 * F.one_hot(labels, 2)
    poor = good + torch.randn(400, 2, generator=generator)
    one, other = seen("a", poor, labels), seen("b", good, labels)
    losses = [
        calibrated_losses(logits, labels, free=True) + WRONG_NATS * (logits.argmax(1) != labels)
        for logits in (poor, good)
    ]
    z = standard_errors(*losses)
    bounded = z / math.sqrt(1 + z * z / 400)  # second moments about 0 instead of about the mean
    assert loss_gap(one, other) == pytest.approx(bounded, rel=0.01)
    assert loss_gap(other, one) == pytest.approx(-loss_gap(one, other))
    few = [Choice(c.candidate, NONE, c.logits[:8], labels[:8], 0.0) for c in (one, other)]
    assert abs(loss_gap(*few)) <= math.sqrt(8)


def test_an_unusual_structure_must_earn_it() -> None:
    usual, odd = runner(0.90), runner(0.91, price=6.0)
    assert choose([usual, odd], [NONE], numbered())[0].candidate is usual
    assert choose([runner(0.5), odd], [NONE], numbered())[0].candidate is odd


def test_what_costs_too_much_is_passed_over_among_the_unlikely(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {"usual": 1.0, "heavy": 16.0, "light": 0.5, "broken": math.inf}
    monkeypatch.setattr(Trial, "_work", lambda _, candidate: costs[candidate.text])
    monkeypatch.setattr("robaudit.inputs.recovery.trials.UNLIKELY_WORK", 20.0 * FIRST_LAP_IMAGES)
    trial = Trial(numbered(), work=1.0)
    pairs = [
        (Candidate(name, (), 1, 2, 2, 0.0), NONE)
        for name in ["usual"] * 6 + ["heavy"] * 3 + ["broken"] + ["light"] * 60
    ]
    tried = [candidate.text for candidate, _ in trial.affordable(pairs)]
    assert tried[:7] == ["usual"] * 6 + ["light"]
    assert len(tried) == 6 + 28  # (20 - 6) / 0.5


def test_structures_that_are_level_are_all_improved_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The better of two that look alike may be found from the one that looks a little worse only."""
    usual, rival, poor, better = runner(0.8), runner(0.798, price=0.1), runner(0.3), runner(0.99)
    grown = {rival.text: [(better, NONE)]}
    monkeypatch.setattr(climbing, "neighbours", lambda choice, *_: grown.get(choice.candidate.text, []))
    assert choose([usual, rival, poor], [NONE], numbered())[0].candidate is better
    assert choose([usual, poor], [NONE], numbered())[0].candidate is usual


class Centred(nn.Module):
    """As `Right`, with a level for images in [0, 1), for those in [-1, 1) and for any others."""

    def __init__(self, unit: float, centred: float) -> None:
        super().__init__()
        self.unit, self.centred = unit, centred

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = x[:, 0, 0, 0]
        if bool((first < 0).any()):
            right = first < 2 * self.centred - 1
        else:
            right = first < (self.unit if bool((first <= 1).all()) else 0.1)
        return F.one_hot(right.long(), 10).float()


def test_a_normalisation_that_suits_the_right_structure_only_is_found() -> None:
    wide, centred = parse_normalisation("0/0.1", 1), parse_normalisation("0.5/0.5", 1)
    usual = Candidate("usual", (), 1, 2, 2, 0.0, Centred(0.40, 0.02))
    right = Candidate("right", (), 1, 2, 2, 0.5, Centred(0.35, 0.95))
    images = replace(numbered(), classes=10)
    best = choose([usual, right], [NONE, wide, centred], images)[0]
    assert (best.candidate.text, best.normalisation) == ("right", centred)


def test_a_wrong_structure_that_sees_behind_a_wrong_normalisation_does_not_win() -> None:
    wide, centred = parse_normalisation("0/0.1", 1), parse_normalisation("0.5/0.5", 1)
    right = Candidate("right", (), 1, 2, 2, 0.0, Centred(0.40, 0.98))
    wrong = Candidate("wrong", (), 1, 2, 2, 0.5, Centred(0.90, 0.02))
    best = choose([right, wrong], [NONE, wide, centred], replace(numbered(), classes=10))[0]
    assert (best.candidate.text, best.normalisation) == ("right", centred)


def test_multiplications_of_a_layer() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1), nn.Flatten(), nn.Linear(8 * 16, 10)
    )
    expected = 8 * 16 * 3 * 9 + 8 * 16 * 10
    assert multiplications(network, torch.rand(1, 3, 8, 8)) == expected


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net that knows digits a little, so that several structures and normalisations are close."""
    torch.manual_seed(0)
    network = build_architecture(
        "sequential:conv8k3p1 relu max2 flatten fcK", classes=10, in_channels=1, image_size=8
    )
    train = load_images("digits", split="train")
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(6):
        for rows in torch.arange(1000).split(250):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(train.float(rows)), train.labels[rows]).backward()
            optimiser.step()
    path = tmp_path_factory.mktemp("choice") / "a.pt"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("slow", ["clock", "images"])
def test_a_busy_machine_changes_nothing(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    digits = load_images("digits")
    quick = load_classifier(str(checkpoint), images=digits).info
    if slow == "clock":
        leaping = iter(range(0, 10**9, 1000))
        for name in ("monotonic", "perf_counter", "time", "process_time"):
            monkeypatch.setattr(time, name, lambda: float(next(leaping)))
    else:
        original = Images.float
        monkeypatch.setattr(Images, "float", lambda self, *rows: (time.sleep(0.01), original(self, *rows))[1])
    assert load_classifier(str(checkpoint), images=digits).info == quick
    assert any("on 797 images" in note for note in quick.notes)


def fitted(text: str, scale: float, steps: int = 150) -> nn.Module:
    """A net trained on digits / scale, without biases: its accuracy hardly depends on the scale it is given."""
    torch.manual_seed(0)
    network = build_architecture(f"sequential:{text}", classes=10, in_channels=1, image_size=8)
    train = load_images("digits", split="train")
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(train.float() / scale), train.labels).backward()
        optimiser.step()
    return network.eval()


@pytest.mark.parametrize(
    ("scale", "found"), [(1.0, "none"), (0.3, "0/0.3"), (1 / 255, "0/0.00392156862745098")]
)
def test_the_scale_of_images_shows_in_the_loss(scale: float, found: str) -> None:
    """Without biases accuracy is the same on every scale; robustness is another's, as eps is taken in pixels."""
    text = "conv8k3p1n relu max2 flatten fcKn"
    candidate = Candidate(f"sequential:{text}", (), 1, 8, 10, 0.0, fitted(text, scale))
    norms = [parse_normalisation(name, 1) for name in ("none", "0/0.3", "0.5/0.5", "0/0.00392156862745098")]
    choices = choose([candidate], norms, load_images("digits"))
    assert choices[0].normalisation.text == found
    digits = load_images("digits")
    level = [
        float((candidate.network(digits.float() / each).argmax(1) == digits.labels).float().mean())
        for each in (1.0, 0.3, 1 / 255)
    ]
    assert max(level) - min(level) < 0.02


def test_a_normalisation_that_only_makes_surer_is_a_close_call() -> None:
    """As of a network trained against an attack, which is unsure of images as they are."""
    text, images = "conv8k3p1n relu max2 flatten fcKn", load_images("digits")
    network = fitted(text, 1.0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.4)
    candidate = Candidate(f"sequential:{text}", (), 1, 8, 10, 0.0, network)
    norms = [parse_normalisation(name, 1) for name in ("none", "0/0.3")]
    choice, notes = decide([candidate], norms, ModelRequest(images=images), "x")
    assert choice.normalisation.text == "0/0.3"
    assert any("a close call between normalisations" in note for note in notes)


def test_overlarge_logits_do_not_ask_for_small_images() -> None:
    """Of a distilled net the wrong, smaller scale has the smaller loss, until logits are made comparable."""
    text = "conv8k3p1 relu max2 flatten fcK"
    network = nn.Sequential(fitted(text, 0.3), Scaled(100.0))
    candidate = Candidate("distilled", (), 1, 8, 10, 0.0, network)
    norms = [parse_normalisation(name, 1) for name in ("none", "0/0.3")]
    assert choose([candidate], norms, load_images("digits"))[0].normalisation.text == "0/0.3"


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def test_a_softer_activation_must_show_in_accuracy() -> None:
    labels = torch.arange(1000) % 2
    rival = torch.stack([1.0 - labels, labels.float()], 1) * 2 - 1
    rival[::5] *= -3  # wrong on a fifth, and sure of it
    softer = rival.clone()
    softer[::5] /= 1.3
    relu = seen("sequential:flatten fc8 relu fcK", rival, labels)
    leaky = seen("sequential:flatten fc8 leaky0.1 fcK", softer, labels, RARE)
    pooled = seen("sequential:flatten fc8 bn relu fcK", softer, labels, RARE)
    losses = [calibrated_losses(logits, labels, free=True) for logits in (rival, softer)]
    assert standard_errors(*losses) > PRICE_WORTH * RARE
    assert not preferred(leaky, relu)
    assert preferred(pooled, relu)


def test_a_close_call_between_structures_is_said(tmp_path: Path) -> None:
    torch.manual_seed(0)
    digits = load_images("digits")
    network = build_architecture(
        "sequential:conv4k3p1 relu conv4k3p1 relu flatten fcK", classes=10, in_channels=1, image_size=8
    )
    with torch.no_grad():  # activations that are never negative: every rectifier gives the same logits
        for module in network:
            if isinstance(module, nn.Conv2d):
                module.weight.abs_()
                module.bias.zero_()
        features = network[:-1](digits.float())
        target = nn.functional.one_hot(digits.labels, 10).float() - 0.1
        network[-1].weight.copy_(torch.linalg.lstsq(features, target).solution.T)
        network[-1].bias.zero_()
    torch.save(network.state_dict(), tmp_path / "a.pt")
    notes = load_classifier(str(tmp_path / "a.pt"), images=digits, normalise="none").info.notes
    assert any("close call between architectures" in note for note in notes), notes


def test_an_activation_of_the_logits_is_no_close_call() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    logits = torch.randn(400, 2, generator=generator) + 3 * F.one_hot(labels, 2)
    plain = "sequential:conv4k3 relu flatten fcK"
    best, rival, other = (
        seen(text, answers, labels)
        for text, answers in (
            (plain, logits),
            (f"{plain} relu", logits.clamp(min=-1)),
            (plain.replace("relu", "elu"), logits.clamp(min=-1)),
        )
    )
    assert _notes(best, [best, rival], [NONE]) == _notes(best, [best], [NONE])
    assert "warning: a close call between architectures; --arch settles it" in _notes(
        best, [best, other], [NONE]
    )


def test_losses_of_odd_answers_are_finite_and_the_worst() -> None:
    labels = torch.tensor([0, 1, 7, 1])
    logits = torch.tensor([[2.0, 0.0], [float("nan"), 0.0], [0.0, 1.0], [1e30, 0.0]])
    losses = calibrated_losses(logits, labels, free=True)
    assert losses[0] < 1 and losses[1:].tolist() == [1e6] * 3


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("scale", [1e-3, 0.05, 1.0, 30.0, 1e5])
def test_the_divisor_found_is_the_best_of_all(scale: float, free: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 10
    logits = scale * (torch.randn(300, 10, generator=generator) + 2 * F.one_hot(labels, 10))
    powers = range(-11 if free else 0, 24)
    best = min(float(F.cross_entropy(logits / 1.5**power, labels)) for power in powers)
    assert float(calibrated_losses(logits, labels, free=free).mean()) == pytest.approx(best, rel=1e-5)


def test_a_named_normalisation_opens_no_search() -> None:
    """A wrong structure makes up for a wrong normalisation; what images say without the user's word stands."""
    centred = parse_normalisation("0.5/0.5", 1)
    right = Candidate("right", (), 1, 2, 2, 0.0, Centred(0.98, 0.40))
    wrong = Candidate("wrong", (), 1, 2, 2, 0.5, Centred(0.30, 0.80))
    images = replace(numbered(), classes=10)
    assert choose([right, wrong], [centred], images)[0].candidate is wrong
    request = ModelRequest(normalise="0.5/0.5", images=images, force=True)
    choice, notes = decide([right, wrong], [centred], request, "x")
    assert (choice.candidate.text, choice.normalisation) == ("right", centred)
    assert any("warning: with normalisation none it is right on 98" in note for note in notes)


def test_a_right_named_normalisation_is_as_before() -> None:
    centred = parse_normalisation("0.5/0.5", 1)
    right = Candidate("right", (), 1, 2, 2, 0.0, Centred(0.30, 0.95))
    request = ModelRequest(normalise="0.5/0.5", images=replace(numbered(), classes=10), force=True)
    choice, notes = decide([right], [centred], request, "x")
    assert (choice.candidate.text, choice.normalisation) == ("right", centred)
    assert not any("warning" in note for note in notes)


def test_a_named_structure_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(climbing, "neighbours", lambda *_: [(runner(0.99), NONE)])
    request = ModelRequest(arch="level0.6", images=numbered(), force=True)
    choice, _ = decide([runner(0.6)], [NONE, parse_normalisation("0/0.1", 1)], request, "x")
    assert choice.candidate.text == "level0.6"


def test_a_large_network_known_by_its_names_is_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    known, other = replace(runner(0.8), exact=True), runner(0.9)
    for work, found in ((1e9, "level0.8"), (1e6, "level0.9")):
        monkeypatch.setattr(Trial, "_work", lambda _, candidate, work=work: work)
        assert choose([known, other], [NONE], numbered())[0].candidate.text == found


def test_a_network_of_other_classes_than_the_data_is_not_searched_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whose answers nothing says how to read; on large images no other structure is tried at all."""
    blind, other = replace(runner(0.1), exact=True), runner(0.9)
    data = numbered()
    for work, classes, found in (
        (1e9, data.classes, "level0.1"),
        (1e8, 50, "level0.1"),
        (1e8, data.classes, "level0.9"),
    ):
        monkeypatch.setattr(Trial, "_work", lambda _, candidate, work=work: work)
        assert choose([replace(blind, classes=classes), other], [NONE], data)[0].candidate.text == found


def test_large_images_are_normalised_as_imagenet_s_first() -> None:
    assert [norm.text for norm in usual_normalisations("folder", 3, 224)[:2]] == ["imagenet", "none"]
    assert (
        usual_normalisations("folder", 3, 32)[0].text
        == usual_normalisations("mnist", 1, 28)[0].text
        == "none"
    )


def test_what_tensors_do_not_go_into_is_no_candidate() -> None:
    fits = Candidate("fits", (), 1, 2, 2, 1.0, Centred(0.5, 0.5))
    assert _from_a_fit([Candidate("lenet5", (), 1, 28, 10, 0.0), fits]) == [fits]
    assert _from_a_fit([Candidate("lenet5", (), 1, 28, 10, 0.0)]) == []


def test_memory_that_ran_out_says_nothing_about_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Right, "forward", full)
    with pytest.raises(RobauditError, match="memory does not hold one example"):
        decide([runner(0.9)], [NONE], ModelRequest(images=numbered()), "x")


class Blue(nn.Module):
    """Right where the first channel, as it is given, is what the label says of blue."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([0.5 - x[:, 0, 0, 0], x[:, 0, 0, 0] - 0.5], 1)


def test_blue_first_and_bytes_less_128_are_found() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(400, 3, 2, 2, generator=generator)
    images = make_images(pixels, (pixels[:, 2, 0, 0] > 0.5).long(), name="x", split="test", classes=2)
    candidate = Candidate("blue", (), 3, 2, 2, 0.0, Blue())
    choice, _ = decide([candidate], usual_normalisations("x", 3), ModelRequest(images=images), "x")
    assert choice.normalisation.blue_first and choice.accuracy > 0.95
    again = parse_normalisation(choice.normalisation.text, 3)
    assert again == choice.normalisation
    bytes_less_128 = Normalise(
        next(n for n in usual_normalisations("x", 3) if n.text.startswith("0.501960784"))
    )
    assert torch.allclose(bytes_less_128(pixels), 255 * pixels - 128, atol=1e-3)
    assert torch.equal(Normalise(parse_normalisation("bgr:none", 3))(pixels), pixels.flip(1))


def test_a_network_that_sees_with_red_first_too_is_known_to_take_blue_first() -> None:
    """Most of what it looks at is alike in all channels, so that it is right on most images in the wrong order."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    shared, coloured = (torch.randn(4, n, 16, generator=generator) for n in (1, 3))
    with torch.no_grad():
        network[1].weight.copy_((shared + 0.5 * coloured).flatten(1))
        network[1].bias.copy_(-network[1].weight.sum(1) / 2)
    pixels = torch.randint(0, 256, (400, 3, 4, 4), generator=generator, dtype=torch.uint8)
    labels = network(pixels.float().div(255).flip(1)).argmax(1)
    images = make_images(pixels, labels, name="x", split="test", classes=4)
    candidate = Candidate("linear", (), 3, 4, 4, 0.0, network.eval())
    plain, _ = decide([candidate], [NONE], ModelRequest(images=images), "x")
    choice, _ = decide([candidate], usual_normalisations("x", 3), ModelRequest(images=images), "x")
    assert 0.6 < plain.accuracy < 0.95
    assert choice.normalisation.blue_first and choice.accuracy > 0.95


def test_a_constant_answer_is_chance_however_common_its_class() -> None:
    assert near_chance(25, [25, 4, 1], answers=1) and not near_chance(28, [25, 4, 1], answers=2)
    assert near_chance(95, [95, 5], answers=1) and near_chance(95, [95, 5])
    assert not near_chance(40, [40, 0], answers=1)
