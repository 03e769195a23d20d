"""The ball, and FAB's projection against an exact solver."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from robaudit.attacks import geometry, pgd
from robaudit.attacks.fab import project_onto_plane
from robaudit.attacks.randomness import Draws
from robaudit.attacks.windows import pattern, patterns, window, window_side


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_projection_is_inside_and_idempotent(norm):
    x = torch.rand(50, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    far = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    inside = geometry.project(far, x, 0.3, norm)
    assert bool((geometry.distance(inside, x, norm) <= 0.3 + 1e-6).all())
    assert 0 <= float(inside.min()) <= float(inside.max()) <= 1
    assert torch.allclose(geometry.project(inside, x, 0.3, norm), inside, atol=1e-6)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_starts(norm):
    x, ids = torch.full((200, 1, 5, 5), 0.5), torch.arange(200)
    ball = geometry.start_in_ball(Draws(0, "a"), ids, x, 0.2, norm)
    sphere = geometry.start_on_sphere(Draws(0, "a"), ids, torch.zeros_like(ids), x, 0.2, norm)
    assert float(geometry.distance(ball, x, norm).max()) <= 0.2 + 1e-6
    assert torch.allclose(geometry.distance(sphere, x, norm), torch.full((200,), 0.2), atol=1e-6)
    # A ball's radii are distributed like u^(1/d); in the L2 and L1 balls half of the points are beyond 0.5^(1/25).
    if norm != "Linf":
        beyond = float((geometry.distance(ball, x, norm) > 0.2 * 0.5 ** (1 / 25)).float().mean())
        assert 0.35 < beyond < 0.65


def test_steepest_has_a_direction_however_small_the_gradient():
    tiny = torch.full((1, 1, 2, 2), 1e-30)
    assert torch.allclose(geometry.steepest(tiny, tiny, "L2"), torch.full((1, 1, 2, 2), 0.5))
    assert not bool(geometry.steepest(torch.zeros(1, 1, 2, 2), tiny, "L2").any())


@pytest.mark.parametrize("seed", range(12))
def test_l1_projection_is_the_nearest_point_of_ball_and_box(seed):
    draw = np.random.default_rng(seed)
    d, eps = 6, draw.uniform(0.05, 2.5)
    x, u = draw.random(d).round(1), draw.normal(size=d)  # some lie on the edge of [0, 1]
    point = (torch.tensor(a.reshape(1, 1, 2, 3)) for a in (x + u, x))
    got = geometry.project_l1(*point, eps).numpy().ravel() - x
    # min |p - n - u|^2 with p, n >= 0, sum p + n <= eps, p <= 1 - x, n <= x
    best = minimize(
        lambda v: np.square(v[:d] - v[d:] - u).sum(),
        np.zeros(2 * d),
        jac=lambda v: np.concatenate([r := 2 * (v[:d] - v[d:] - u), -r]),
        bounds=[(0, 1 - a) for a in x] + [(0, a) for a in x],
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda v: eps - v.sum(), "jac": lambda v: -np.ones(2 * d)},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert np.abs(got).sum() <= eps * (1 + 1e-5)
    assert np.square(got - u).sum() == pytest.approx(best.fun, rel=1e-4, abs=1e-8)


def test_l1_projection_of_many_points_with_radii_of_their_own():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 3, 16, 16, generator=generator)
    far, eps = x + torch.randn(x.shape, generator=generator) * 0.1, torch.linspace(0.5, 80, 40)
    found = geometry.project_l1(far, x, eps)
    size = (found - x).abs().flatten(1).sum(1)
    whole = (far.clamp(0, 1) - x).abs().flatten(1).sum(1)
    assert torch.allclose(size, torch.minimum(eps, whole), rtol=1e-4)
    assert bool((whole < eps).any() & (whole > eps).any())


@pytest.mark.parametrize("seed", range(8))
def test_plane_projection_is_the_smallest_l1(seed):
    draw = np.random.default_rng(seed)
    d = 8
    x, w = draw.random(d), draw.normal(size=d)
    w[draw.random(d) < 0.2] = 0
    shortfall = draw.uniform(0.05, 0.95) * np.where(w > 0, w * (1 - x), -w * x).sum()
    got = project(x, w, shortfall, "L1")
    bounds = [(0, 1 - a) for a in x] + [(0, a) for a in x]
    best = linprog(np.ones(2 * d), A_eq=np.append(w, -w)[None], b_eq=[shortfall], bounds=bounds)
    assert w @ got == pytest.approx(shortfall, rel=1e-5)
    assert np.abs(got).sum() == pytest.approx(best.fun, rel=1e-5)


def test_steepest_in_l1_moves_few_pixels_and_one_at_least():
    gradient = torch.arange(1, 301, dtype=torch.float32).reshape(1, 3, 10, 10)
    at = torch.full((1, 3, 10, 10), 0.5)
    assert geometry.steepest(gradient, at, "L1").flatten().nonzero().flatten().tolist() == [297, 298, 299]
    assert float(geometry.steepest(gradient[:, :, :2, :2], at[:, :, :2, :2], "L1").abs().sum()) == 1
    assert not bool(geometry.steepest(torch.zeros(1, 1, 2, 2), at[:, :1, :2, :2], "L1").any())


def project(x, w, shortfall, norm):
    """`project_onto_plane` on one point, in float64."""
    arrays = (torch.tensor(a[None], dtype=torch.float64) for a in (x, w))
    return project_onto_plane(*arrays, torch.tensor([shortfall]).double(), norm)[0].numpy()


@pytest.mark.parametrize("seed", range(25))
def test_plane_projection_is_the_smallest_linf(seed):
    draw = np.random.default_rng(seed)
    d = 8
    x, w = draw.random(d), draw.normal(size=d)
    w[draw.random(d) < 0.2] = 0
    reachable = np.where(w > 0, w * (1 - x), -w * x).sum()
    shortfall = draw.uniform(0.05, 0.95) * reachable
    move = project_onto_plane(
        *(torch.tensor(a[None], dtype=torch.float64) for a in (x, w)),
        torch.tensor([shortfall]).double(),
        "Linf",
    )
    got = move[0].numpy()
    # min t such that |r| <= t, x + r in [0, 1], <w, r> = shortfall
    cost = np.append(np.zeros(d), 1)
    upper = np.vstack([np.hstack([np.eye(d), -np.ones((d, 1))]), np.hstack([-np.eye(d), -np.ones((d, 1))])])
    best = linprog(
        cost,
        upper,
        np.zeros(2 * d),
        np.append(w, 0)[None],
        [shortfall],
        [(-a, 1 - a) for a in x] + [(0, None)],
    )
    assert w @ got == pytest.approx(shortfall, rel=1e-5)
    assert np.abs(got).max() == pytest.approx(best.fun, rel=1e-5)
    assert (x + got >= -1e-9).all()
    assert (x + got <= 1 + 1e-9).all()


@pytest.mark.parametrize("seed", range(15))
def test_plane_projection_is_the_smallest_l2(seed):
    draw = np.random.default_rng(seed)
    d = 6
    x, w = draw.random(d), draw.normal(size=d)
    reachable = np.where(w < 0, w * (1 - x), -w * x).sum()  # this time downwards
    shortfall = draw.uniform(0.1, 0.9) * reachable
    move = project_onto_plane(
        *(torch.tensor(a[None], dtype=torch.float64) for a in (x, w)),
        torch.tensor([shortfall]).double(),
        "L2",
    )
    got = move[0].numpy()
    best = minimize(
        lambda r: r @ r,
        got * 0,
        jac=lambda r: 2 * r,
        bounds=[(-a, 1 - a) for a in x],
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda r: w @ r - shortfall},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert w @ got == pytest.approx(shortfall, rel=1e-5)
    assert np.linalg.norm(got) == pytest.approx(np.sqrt(best.fun), rel=1e-3)


def test_an_unreachable_plane_gives_the_closest_corner():
    x, w = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, -2.0]])
    move = project_onto_plane(x, w, torch.tensor([100.0]), "Linf")
    assert torch.allclose(x + move, torch.tensor([[1.0, 0.0]]))
    assert not bool(project_onto_plane(x, w * 0, torch.tensor([1.0]), "L2").any())


def test_square_windows_follow_the_papers_schedule():
    # p = 0.8 at first, halved after 10, 50, 200, ... changes; query 0 is the stripes, query 1 the first change.
    for query, halvings in (
        (1, 0),
        (11, 0),
        (12, 1),
        (51, 1),
        (52, 2),
        (202, 3),
        (502, 4),
        (1002, 5),
        (4002, 7),
    ):
        expected = max(round((0.8 / 2**halvings * 32 * 32) ** 0.5), 1)
        assert int(window_side(torch.tensor([query]), 32, 32)) == expected
    mask = window(torch.tensor([1]), torch.tensor([2]), torch.tensor([3]), 8, 8)[0, 0]
    assert int(mask.sum()) == 9
    assert bool(mask[1:4, 2:5].all())


@pytest.mark.parametrize("side", [1, 2, 3, 6, 7, 15])
def test_l2_pattern_has_unit_length(side):
    assert pattern(side, "L2").shape == (side, side)
    assert float(pattern(side, "L2").square().sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_plane_projection_does_not_know_the_scale_of_the_gradient(norm, scale):
    x, w = torch.full((1, 9), 0.5), torch.linspace(-1, 1, 9)[None]
    expected = project_onto_plane(x, w, torch.tensor([0.7]), norm)
    assert torch.allclose(
        project_onto_plane(x, w * scale, torch.tensor([0.7 * scale]), norm), expected, atol=1e-5
    )


@pytest.mark.parametrize(("height", "width"), [(8, 8), (32, 32), (5, 9)])
def test_patterns_stand_where_their_windows_are(height, width):
    """Against each pattern put into its window one by one."""
    iteration = torch.tensor([0, 5, 11, 60, 300, 1500, 9000])
    side = window_side(iteration, height, width, least=3)
    generator = torch.Generator().manual_seed(0)
    corner = (
        torch.rand(len(side), 4, generator=generator)
        * (torch.tensor([height, width] * 2) - side[:, None] + 1)
    ).long()
    turned = torch.arange(len(side)) % 2 == 0
    found = patterns(side, corner, turned, (height, width), "L2")
    for row, size in enumerate(side.tolist()):
        expected = torch.zeros(height, width)
        one = pattern(size, "L2").T if turned[row] else pattern(size, "L2")
        top, left = corner[row, :2].tolist()
        expected[top : top + size, left : left + size] = one
        assert torch.equal(found[row, 0], expected)


def test_pgd_in_l1_goes_on_where_the_box_stops_the_largest_gradients():
    """Of a linear model each step moves the pixel that raises the loss most, among those that can be moved."""
    weight = torch.arange(16.0, 0, -1)

    def model(x):
        return torch.stack([x.flatten(1) @ weight, torch.full((len(x),), 120.0)], 1)

    x = torch.full((1, 1, 4, 4), 0.9)
    moved = pgd(model, x, torch.tensor([0]), eps=16.0, norm="L1", steps=40, step_size=0.5)
    assert bool((model(moved).argmax(1) == 1).all())
    assert int((moved < 0.1).sum()) >= 10
