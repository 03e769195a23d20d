"""Inside the ball and inside [0, 1], without tolerance: what a witness has to be before it counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robaudit.plan import ThreatModel

Floats = NDArray[np.float32]


def _length(delta: NDArray[np.float64], norm: str) -> NDArray[np.float64]:
    flat = np.abs(delta.reshape(len(delta), -1))
    if norm == "Linf":
        return flat.max(axis=1, initial=0.0)
    return flat.sum(axis=1) if norm == "L1" else np.sqrt(np.square(flat).sum(axis=1))


def inside(x_adv: Floats, x: Floats, threat: ThreatModel) -> NDArray[np.bool_]:
    """(n,) bool: finite, in [0, 1], and no further from `x` than eps, computed in float64.

    Args:
        x_adv: (n, C, H, W) float32.
        x: likewise, the clean inputs.
        threat: the ball.

    """
    delta = x_adv.astype(np.float64) - x.astype(np.float64)
    flat = x_adv.reshape(len(x_adv), -1)
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(flat).all(axis=1) & (flat >= 0).all(axis=1) & (flat <= 1).all(axis=1)
        return np.asarray(valid & (_length(delta, threat.norm) <= threat.eps))


def seal(x_adv: NDArray[np.floating], x: Floats, threat: ThreatModel) -> Floats:
    """The nearest float32 points to `x_adv` that are `inside`; NaN stays NaN and so stays outside.

    `x - eps` rounded to float32 can lie outside the ball by half a unit in the last place, so the bounds
    are computed in float64 and rounded inwards.

    Args:
        x_adv: (n, C, H, W), near the ball.
        x: (n, C, H, W) float32 in [0, 1].
        threat: the ball.

    """
    x64 = x.astype(np.float64)
    if threat.norm == "Linf":
        low, high = x64 - threat.eps, x64 + threat.eps
        low32, high32 = low.astype(np.float32), high.astype(np.float32)
        low32 = np.where(low32 < low, np.nextafter(low32, np.float32(2)), low32)
        high32 = np.where(high32 > high, np.nextafter(high32, np.float32(-2)), high32)
        return np.clip(np.clip(x_adv.astype(np.float32), low32, high32), 0, 1)
    delta = x_adv.astype(np.float64) - x64
    # Rounding the sum to float32 moves each of the d coordinates by at most 2^-25, those that stay by nothing.
    moved = (delta != 0).reshape(len(delta), -1).sum(axis=1) if threat.norm == "L1" else np.sqrt(x[0].size)
    room = np.maximum(threat.eps - 2.0**-25 * moved, 0)
    shrink = np.minimum(room / np.maximum(_length(delta, threat.norm), 1e-12), 1.0)
    sealed = x64 + delta * shrink.reshape(-1, *[1] * (x.ndim - 1))
    return np.clip(sealed.astype(np.float32), 0, 1)
