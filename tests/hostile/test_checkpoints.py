"""Hostile checkpoints of PyTorch: code, tensors that are not there, demands of time and memory."""

from __future__ import annotations

import pytest

from tests.hostile import containers, payloads, tensors
from tests.hostile.harness import Hostile, part

KINDS = {
    "calls": payloads.pickled_calls,
    "hidden calls": payloads.hidden_calls,
    "shapes": tensors.shapes,
    "storages": tensors.storages,
    "demands": tensors.demands,
    "safetensors": containers.safetensors_headers,
    "own metadata": containers.own_metadata,
    "archives": containers.archives,
    "opcodes": containers.opcodes,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_part(hostile: Hostile, kind: str) -> None:
    own_file = (
        KINDS[kind].__module__ == containers.__name__
    )  # each of them is a file of its own kind, and slower
    assert hostile.try_all(part(KINDS[kind](), 4 if own_file else 14))


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_all(hostile: Hostile, kind: str) -> None:
    cases = KINDS[kind]()
    assert len({case.name for case in cases}) == len(cases)
    assert hostile.try_all(cases) == len(cases)
