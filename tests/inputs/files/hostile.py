"""What tests of damaged and malicious files share: files to start from, and a check that none runs code."""

from __future__ import annotations

import io
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from robaudit.errors import RobauditError
from robaudit.inputs import build_architecture, load_classifier

CANARY = "ROBAUDIT_CANARY"


class Evil:
    """Unpickled by anyone careless, it runs a command."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.arguments


def canary(name: str, value: str) -> None:
    os.environ[name] = value


def saved(tree: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(tree, stream, **options)
    return stream.getvalue()


def state(name: str = "sequential:flatten fc12 relu fcK") -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_architecture(name, classes=10, in_channels=1, image_size=28).state_dict()


SEEDS: dict[str, bytes] = {
    "zip": saved({"state_dict": state(), "epoch": 3}),
    "legacy": saved({"state_dict": state(), "epoch": 3}, _use_new_zipfile_serialization=False),
    "safetensors": save(state(), {"note": "x"}),
    "network": saved(state("sequential:conv4k5s2p2 relu flatten fcK")),
}


def check(path: Path, data: bytes) -> str | None:
    """Load a file; the message of its error, None where it loads (a harmless change)."""
    path.write_bytes(data)
    os.environ.pop(CANARY, None)
    try:
        load_classifier(str(path))
        message = None
    except RobauditError as error:
        message = str(error)
        assert message.startswith(str(path)) and message.count("\n") <= 1 and len(message) < 700, message
    assert CANARY not in os.environ
    return message


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Cut short, bytes flipped, stretches removed, repeated, zeroed, moved, replaced by another number."""
    draw = random.Random(seed)
    head = min(len(data), 4000)
    for _ in range(count):
        kind = draw.randrange(7)
        near = draw.randrange(head) if draw.random() < 0.5 else len(data) - 1 - draw.randrange(head)
        at = near if draw.random() < 0.9 else draw.randrange(len(data))
        size = draw.choice([1, 1, 2, 4, 8, 64, 1000])
        if kind == 0:
            yield data[:at]
        elif kind == 1:
            yield data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]
        elif kind == 2:
            yield data[:at] + data[at + size :]
        elif kind == 3:
            yield data[: at + size] + data[at:]
        elif kind == 4:
            yield data[:at] + bytes(size) + data[at + size :]
        elif kind == 5:
            yield data[:at] + draw.randbytes(size) + data[at + size :]
        else:
            number = draw.choice([2**31 - 1, 2**32 - 1, 2**63 - 1, 0, 2**40])
            yield data[:at] + struct.pack("<Q", number) + data[at + 8 :]
