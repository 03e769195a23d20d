"""What the loader chooses is what it chose when the facts were written, or something better."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.inputs.recovery import choosing

FACTS = json.loads(choosing.FACTS.read_text())
heavy = pytest.mark.heavy


def marked(cases: list[tuple[Any, ...]]) -> list[Any]:
    """Cases whose last entry says whether `make test` runs them."""
    return [pytest.param(*case[:-1], marks=[] if case[-1] else [heavy], id=case[0][:60]) for case in cases]


def same(got: dict[str, Any], fact: dict[str, Any]) -> None:
    """Assert that a choice is the fact, up to rounding; the runners-up may be others."""
    assert got.pop("accuracy", 0) == pytest.approx(fact.get("accuracy", 0), abs=0.02)
    kept = {key: value for key, value in fact.items() if key != "accuracy"}
    for notes in (got, kept):
        notes["notes"] = [re.sub(r", next .*|\d+(\.\d+)?", "", note) for note in notes.get("notes", ())]
    assert got == kept


@pytest.mark.parametrize(("name", "channels", "side"), choosing.NETWORKS)
def test_without_images(name: str, channels: int, side: int, tmp_path: Path) -> None:
    assert choosing.nameless_choice(name, channels, side, tmp_path) == FACTS["without images"][name]


@pytest.mark.parametrize(
    ("architecture", "normalisation"),
    [
        pytest.param(*case, marks=[heavy] if i % 3 else [], id=str(i))
        for i, case in enumerate(choosing.TRAINED)
    ],
)
def test_networks_trained_for_a_moment(architecture: str, normalisation: str, tmp_path: Path) -> None:
    fact = FACTS["trained"][f"{architecture} | {normalisation}"]
    same(choosing.trained(architecture, normalisation, tmp_path), fact)


@pytest.mark.parametrize("architecture", marked(choosing.ANSWERING))
def test_networks_asked_for_their_own_answers(architecture: str, tmp_path: Path) -> None:
    same(choosing.answering(architecture, tmp_path), FACTS["answering"][architecture])


@pytest.mark.data
@pytest.mark.parametrize(("file", "dataset"), marked(choosing.PUBLISHED))
def test_published_files(file: str, dataset: str) -> None:
    same(choosing.published(file, dataset), FACTS["published"][file])


@pytest.mark.parametrize("name", choosing.BETTER)
def test_a_choice_that_changed_became_better(name: str) -> None:
    fact = FACTS["trained"].get(name) or FACTS["published"][name]
    assert fact["accuracy"] > choosing.BETTER[name]
