from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Drawn = Callable[[float, float, int, int, int], np.ndarray]


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    """(size,) drawn without replacement from `total` values, of which these shares are +1 and -1."""

    def draw(plus: float, minus: float, total: int, size: int, seed: int) -> np.ndarray:
        population = np.zeros(total, dtype=np.int64)
        ups, downs = round(plus * total), round(minus * total)
        population[:ups] = 1
        population[ups : ups + downs] = -1
        return np.random.default_rng(seed).permutation(population)[:size]

    return draw
