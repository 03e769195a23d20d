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
    cases = KINDS[kind]()
    assert hostile.survey(part(cases, 14 if len(cases) > 50 else 4))


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_all(hostile: Hostile, kind: str) -> None:
    cases = KINDS[kind]()
    assert len({case.name for case in cases}) == len(cases)
    assert hostile.survey(cases) == len(cases)
