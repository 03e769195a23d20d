"""Batches: keyed, on whole examples, cropped and mirrored as an index-by-index transcription says."""

import pytest
import torch

from robaudit.errors import RobauditError
from robaudit.inputs import load_images, make_images
from robaudit.training.data import TrainData, crop_and_flip, hold_out


def test_held_out_examples_are_balanced_and_not_trained_on():
    images = load_images("digits", split="train", seed=0)
    train, held = hold_out(images, 200, 1)
    assert len(train) + len(held) == len(images)
    assert not torch.isin(train.ids, held.ids).any()
    assert set(torch.bincount(held.labels).tolist()) == {20}
    with pytest.raises(RobauditError, match="pass --validation"):
        hold_out(images, len(images), 0)


def test_every_epoch_is_another_permutation_whatever_came_before():
    images = load_images("digits", split="train", limit=50, seed=0)
    data = TrainData(images, torch.device("cpu"), "none", 0)
    orders = [data.order(epoch) for epoch in range(3)]
    assert all(sorted(order.tolist()) == list(range(50)) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(TrainData(images, torch.device("cpu"), "none", 0).order(2), orders[2])


def test_crops_and_mirrors_are_those_of_the_draws():
    x = torch.arange(1, 2 * 3 * 5 * 5 + 1, dtype=torch.uint8).reshape(2, 3, 5, 5)
    draws = torch.tensor([[0.0, 0.99, 0.1], [0.55, 0.2, 0.9]])
    found = crop_and_flip(x, draws, True, True)
    for n, (down, across, mirror) in enumerate([(0, 8, True), (4, 1, False)]):
        for c in range(3):
            for i in range(5):
                for j in range(5):
                    row = i + down - 4
                    column = (4 - j if mirror else j) + across - 4
                    inside = 0 <= row < 5 and 0 <= column < 5
                    assert found[n, c, i, j] == (x[n, c, row, column] if inside else 0)
    assert torch.equal(crop_and_flip(x, draws, False, False), x)


def test_an_examples_augmentation_does_not_depend_on_its_batch():
    pixels = torch.randint(
        0, 256, (20, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    images = make_images(pixels, torch.arange(20) % 4, name="x", split="train", classes=4)
    data = TrainData(images, torch.device("cpu"), "crop-flip", 0)
    whole = data.batch(torch.arange(20), 3)
    part = data.batch(torch.tensor([7, 2]), 3)
    assert torch.equal(part.x, whole.x[[7, 2]])
    assert torch.equal(part.ids, torch.tensor([7, 2]))
    assert not torch.equal(data.batch(torch.arange(20), 4).x, whole.x)
    assert 0 <= float(whole.x.min()) <= float(whole.x.max()) <= 1
