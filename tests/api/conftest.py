"""A network and its plain audit, which other ways of asking are compared with."""

import pytest
import torch

import robaudit
from robaudit.inputs import load_classifier
from tests.api.digits import SHORT, digits
from tests.shipped import DISTILLED


@pytest.fixture(scope="module")
def model():
    return load_classifier(str(DISTILLED)).network


@pytest.fixture(scope="module")
def plain(model):
    """From tensors: what every other form is compared with."""
    pixels, labels = digits()
    x = torch.from_numpy(pixels).unsqueeze(1).float() / 255
    return robaudit.check(model, x, torch.from_numpy(labels), eps=0.1, **SHORT)
