"""When a model is called near chance: by what guessing gives, and by how many images were seen."""

import numpy as np
import pytest

from robaudit.stats import at_chance, near_chance


def labels(classes: int, count: int) -> list[int]:
    """As many images of each class, up to one."""
    return [len(range(k, count, classes)) for k in range(classes)]


@pytest.mark.parametrize("count", [128, 500, 2000])
@pytest.mark.parametrize("accuracy", [0.65, 0.68, 0.74])
def test_two_classes_at_two_thirds_are_not_near_chance(accuracy, count):
    assert not near_chance(round(accuracy * count), labels(2, count))


@pytest.mark.parametrize("count", [64, 128, 2000, 10_000])
@pytest.mark.parametrize(("classes", "accuracy"), [(2, 0.52), (10, 0.12), (10, 0.15), (100, 0.03)])
def test_what_guessing_nearly_gives_is_near_chance(classes, accuracy, count):
    assert near_chance(round(accuracy * count), labels(classes, count))


@pytest.mark.parametrize(("classes", "right"), [(2, 4), (10, 2), (10, 5), (100, 2)])
def test_five_images_are_enough_for_what_is_mostly_right(classes, right):
    assert not near_chance(right, labels(classes, 5))


@pytest.mark.parametrize("classes", [2, 10])
def test_five_images_all_wrong_are_near_chance(classes):
    assert near_chance(0, labels(classes, 5))


def test_always_the_commonest_class_is_near_chance_and_what_is_better_is_not():
    assert near_chance(122, [122, 6])  # 95 %
    assert not near_chance(128, [122, 6]) and not near_chance(1950, [1900, 100])
    assert near_chance(0, [128, 0]) and not near_chance(128, [128, 0])


@pytest.mark.parametrize("classes", [2, 10])
def test_guesses_hardly_ever_pass(classes):
    right = np.random.default_rng(0).binomial(128, 1 / classes, 20_000)
    assert np.mean([not near_chance(int(r), labels(classes, 128)) for r in right]) < 0.01


def test_what_learns_slowly_is_near_chance_as_a_model_and_not_at_chance_while_training():
    assert near_chance(50, labels(100, 1000)) and not at_chance(0.05, labels(100, 1000))
    assert at_chance(0.15, labels(10, 200)) and not at_chance(0.16, labels(10, 200))
    assert at_chance(0.905, [900, 100]) and not at_chance(0.93, [900, 100])
