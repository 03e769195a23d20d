"""The table of what is done for one kind of published file: each row is tested, and works as it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robaudit.inputs import build_architecture
from robaudit.inputs.recovery.layers import read_layers
from robaudit.inputs.recovery.matching import candidates
from robaudit.inputs.recovery.special import SPECIAL


@pytest.mark.parametrize("name", SPECIAL)
def test_every_row_names_a_test(name: str) -> None:
    files = Path(__file__).parent.glob("test_*.py")
    assert any(f"def {SPECIAL[name].test}(" in path.read_text() for path in files)


@pytest.mark.parametrize(("head", "shortcut"), [("linear", "pad"), ("fc", "pad-end")])
def test_zero_channels_are_where_the_head_s_name_says(head: str, shortcut: str) -> None:
    torch.manual_seed(0)
    state = build_architecture("resnet20:shortcut=pad", classes=10).state_dict()
    renamed = {key.replace("linear.", f"{head}."): tensor for key, tensor in state.items()}
    assert candidates(read_layers(renamed), (3, 32, 32))[0].plan.shortcut == shortcut
