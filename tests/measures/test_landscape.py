"""The loss surface against closed forms and a naive implementation."""

import math

import numpy as np
import pytest
import torch

from robaudit.measures import Landscape, landscape, numbers
from robaudit.measures.interpolation import MESH, smooth
from tests.models import Wrapped, cnn, two_class_linear

OFFSETS = np.linspace(-0.1, 0.1, 51)


def inputs(n=3, shape=(1, 2, 6), seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *shape, generator=generator)
    return x, torch.arange(n) % 2, torch.rand(n, *shape, generator=generator).round() * 2 - 1


def test_a_linear_classifiers_surface_in_closed_form():
    model = two_class_linear()
    x, y, r2 = inputs()
    found = landscape(model, (x, y), r2, OFFSETS, exact=True)
    w = (model.weight[1] - model.weight[0]).double()
    sign = 1.0 - 2.0 * y.double()  # the true class's rival gains on it along sign * w
    margin = sign * (x.flatten(1).double() @ w + float(model.bias[1] - model.bias[0]))
    along_a = w.abs().sum()
    along_b = sign * (r2.flatten(1).double() @ w)
    a, b = torch.tensor(OFFSETS)[None, :, None], torch.tensor(OFFSETS)[None, None, :]
    z = torch.nn.functional.softplus(margin[:, None, None] + a * along_a + b * along_b[:, None, None])
    np.testing.assert_allclose(found.loss, z.numpy(), atol=2e-6)
    rise = margin[:, None, None] + a * along_a + b * along_b[:, None, None]
    np.testing.assert_allclose(found.margin, -rise.numpy(), atol=2e-6)
    assert found.computed.all()
    slope = torch.sigmoid(margin) * along_a
    np.testing.assert_allclose(found.slope[:, 0], slope.numpy(), rtol=1e-5)


def test_where_the_loss_has_no_gradient_r1_leads_to_the_boundary():
    """Logits so large that the softmax is exactly 1: the loss is flat, the margin is not."""
    model = two_class_linear()
    weight = 1e4 * model.weight.detach()
    saturated = Wrapped(lambda x: x.flatten(1) @ weight.T)
    x, _, r2 = inputs()
    y = saturated(x).argmax(1)
    found = landscape(saturated, (x, y), r2, 20 * OFFSETS, exact=True)
    assert (found.slope == 0).all()
    assert (found.loss[:, 25, 25] == 0).all()
    down = np.diff(found.margin[:, :, 25], axis=1)
    assert (down < 0).all()
    assert (found.margin[:, -1, 25] < 0).all()
    assert (found.loss[:, -1, 25] > 100).all()


def test_smooth_surfaces_are_interpolated_well_and_rugged_ones_computed():
    def bend(x):
        s = x.flatten(1).sum(1)
        return torch.stack([s * 0, torch.sin(s) + s], dim=1)

    def rug(x):
        s = x.flatten(1).sum(1)
        return torch.stack([s * 0, torch.sin(40 * s) + s], dim=1)

    for function, rugged in ((bend, False), (rug, True)):
        x, y, r2 = inputs()
        quick = landscape(Wrapped(function), (x, y), r2, OFFSETS)
        full = landscape(Wrapped(function), (x, y), r2, OFFSETS, exact=True)
        assert quick.computed.all() == rugged
        assert np.abs(quick.loss - full.loss).max() <= 0.01 * np.ptp(full.loss)
        if not rugged:
            assert quick.computed.mean() < 0.15
            assert quick.computed[:, 25].all()
            assert quick.computed[:, :, 25].all()


def test_a_spike_on_an_axis_and_a_nan_are_not_smoothed_away():
    mesh = np.rint(np.linspace(0, 50, MESH)).astype(int)
    a, b = np.meshgrid(OFFSETS, OFFSETS, indexing="ij")
    surface = a + b
    assert smooth(surface, mesh) is not None
    spiked = surface.copy()
    spiked[25, 11] += 0.01
    assert smooth(spiked, mesh) is None
    spiked[25, 11] = np.nan
    assert smooth(spiked, mesh) is None


def test_the_numbers_in_closed_form():
    """A profile of |a|: down by h and up by h; the plane has the slope that it is given."""
    h, k = 0.5, 10
    a, _ = np.meshgrid(OFFSETS, OFFSETS, indexing="ij")
    loss = np.stack([np.abs(a) / 0.1 * h, a / 0.1 * h + 1, np.full_like(a, 2.0)])
    slope = np.array([[h / 0.1, 0.0], [h / 0.1, 0.0], [0.0, 0.0]])
    found = Landscape(
        loss, loss, np.ones(loss.shape, bool), slope, np.array([0.0, 1.0, 2.0]), np.zeros(3, np.int64)
    )
    got = numbers(found, OFFSETS, k)
    np.testing.assert_allclose(got.roughness, [2 * h / math.log(k), 0, 0], atol=1e-12)
    np.testing.assert_allclose(got.falling, [0.5, 0, 1])
    np.testing.assert_allclose(got.nonlinearity, [2 * h / math.log(k), 0, 0], atol=1e-12)


def test_neither_batch_nor_company_changes_a_surface():
    model = cnn()
    x, y, r2 = inputs(4, (1, 8, 8), seed=1)
    together = landscape(model, (x, y), r2, OFFSETS[::5], exact=True, batch=1000)
    alone = landscape(model, (x[2:3], y[2:3]), r2[2:3], OFFSETS[::5], exact=True, batch=7)
    np.testing.assert_allclose(together.loss[2], alone.loss[0], atol=1e-5)


def test_progress_tells_how_many_points_are_needed():
    points = []
    x, y, r2 = inputs(1)
    landscape(
        two_class_linear(),
        (x, y),
        r2,
        OFFSETS[::5],
        exact=True,
        batch=50,
        advance=lambda *n: points.append(n),
    )
    assert points == [(50, 121), (100, 121), (121, 121)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_nan(value):
    model = Wrapped(lambda x: torch.stack([x.flatten(1).sum(1), x.flatten(1).sum(1) * 0 + value], dim=1))
    x, y, r2 = inputs(1)
    found = landscape(model, (x, y), r2, OFFSETS[::5])
    assert np.isnan(found.loss).all()
    assert found.predictions.tolist() == [-1]
