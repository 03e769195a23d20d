"""The ball without tolerance, and exact coding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.evidence import (
    WITNESS_LEVELS,
    decode_image,
    decode_witness,
    encode_image,
    encode_witness,
    inside,
    seal,
)
from robaudit.plan import ThreatModel

THREATS = [
    ThreatModel("Linf", 8 / 255),
    ThreatModel("Linf", 0.3),
    ThreatModel("L2", 0.5),
    ThreatModel("L1", 12.0),
]


@pytest.mark.parametrize("threat", THREATS)
def test_sealed_points_are_inside_without_tolerance(threat):
    draw = np.random.default_rng(0)
    # Real pixels are multiples of 1/255; `x + eps` in float32 is outside for about a third of them.
    x = (draw.integers(0, 256, (200, 3, 8, 8)) / 255).astype(np.float32)
    far = x + draw.normal(size=x.shape).astype(np.float32)
    sealed = seal(far, x, threat)
    assert sealed.dtype == np.float32
    assert inside(sealed, x, threat).all()
    corner = np.clip(x + np.float32(threat.eps) * np.sign(far - x), 0, 1).astype(np.float32)
    if threat == THREATS[0]:
        assert not inside(corner, x, threat).all(), "without the seal there would be nothing to show"
    moved = np.abs(seal(corner, x, threat) - corner).max() if threat.norm == "Linf" else 0
    assert moved < 1e-6


def test_nan_infinity_and_points_outside_the_unit_cube_are_not_inside():
    x = np.full((1, 1, 2, 2), 0.5, np.float32)
    threat = ThreatModel("Linf", 0.6)
    for bad in (np.nan, np.inf, -0.01, 1.01):
        point = x.copy()
        point[0, 0, 0, 0] = bad
        assert not inside(point, x, threat)[0]
    assert not inside(seal(x * np.nan, x, threat), x, threat)[0]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), level=st.sampled_from(WITNESS_LEVELS), threat=st.sampled_from(THREATS),
    shape=st.sampled_from([(1, 1, 1), (1, 8, 8), (3, 5, 7), (3, 32, 32)]),
)  # fmt: skip
def test_a_witness_comes_back_inside_and_close(seed, level, threat, shape):
    draw = np.random.default_rng(seed)
    x = (draw.integers(0, 256, shape) / 255).astype(np.float32)
    witness = seal((x + draw.uniform(-1, 1, shape) * threat.eps)[None].astype(np.float32), x[None], threat)[0]
    blob = encode_witness(witness, x, threat, level)
    back = decode_witness(blob, x, threat)
    assert inside(back[None], x[None], threat)[0]
    if level == 0:
        assert np.array_equal(back, witness)
    elif threat.norm == "Linf":
        assert np.abs(back - witness).max() <= threat.eps / level / 2 + 1e-6


def test_the_coarsest_form_of_a_corner_is_the_corner_and_small():
    draw = np.random.default_rng(0)
    threat = THREATS[0]
    x = (draw.integers(0, 256, (3, 32, 32)) / 255).astype(np.float32)
    corner = seal((x + threat.eps * draw.choice([-1, 1], x.shape))[None], x[None], threat)[0]
    blob = encode_witness(corner, x, threat, 1)
    assert np.allclose(decode_witness(blob, x, threat), corner, rtol=0, atol=1e-7)
    assert len(blob) < 800


@given(seed=st.integers(0, 10**6), shape=st.sampled_from([(1, 1, 1), (1, 28, 28), (3, 32, 32), (4, 3, 5)]))
@settings(max_examples=40, deadline=None)
def test_images_come_back_exactly(seed, shape):
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    assert np.array_equal(
        decode_image(encode_image(pixels), shape), pixels.astype(np.float32) / np.float32(255)
    )
    floats = np.random.default_rng(seed).random(shape).astype(np.float32)
    assert np.array_equal(decode_image(encode_image(floats), shape), floats)


def test_stored_pixels_are_the_attacks_pixels():
    """torch and numpy divide by 255 alike."""
    torch = pytest.importorskip("torch")
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.array_equal(
        decode_image(encode_image(every), (1, 16, 16)), torch.from_numpy(every).float().div_(255).numpy()
    )


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_are_a_value_error(data):
    x = np.zeros((1, 4, 4), np.float32)
    for decode in (lambda: decode_witness(data, x, THREATS[0]), lambda: decode_image(data, (1, 4, 4))):
        try:
            decode()
        except ValueError:
            continue
