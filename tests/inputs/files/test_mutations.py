"""Mutated files and arbitrary bytes: one clear error each, no code run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inputs.files.hostile import SEEDS, check, mutations, saved


# Each is read in a child process of its own, so that a thousand take minutes.
@pytest.mark.parametrize("share", [0.3, pytest.param(1.0, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_thousand_mutated_files(tmp_path: Path, seed: str, share: float) -> None:
    refused, count = 0, round(share * (60 if seed == "network" else 340))
    for number, data in enumerate(mutations(SEEDS[seed], count, len(seed))):
        refused += check(tmp_path / f"m{number % 3}.pt", data) is not None
    assert refused > number / 4


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(min_size=0, max_size=300),
    head=st.sampled_from(
        [b"", b"PK\x03\x04", b"\x80\x02", b"\x08\x07", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."]
    ),
)
def test_arbitrary_bytes(tmp_path: Path, data: bytes, head: bytes) -> None:
    assert check(tmp_path / "a.pt", head + data) is not None


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.just(torch.ones(2, 3))
    | st.just(torch.ones(4)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=values, legacy=st.booleans())
def test_arbitrary_trees(tmp_path: Path, tree: Any, legacy: bool) -> None:
    check(tmp_path / "a.pt", saved(tree, _use_new_zipfile_serialization=not legacy))
