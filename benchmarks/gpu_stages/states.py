"""The state of an unfinished training run in few bytes: 16 bits for the momentum, and for the weights where allowed.

It is converted on the way out and on the way in; the trainer sees its own `resume.pt`.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpu_stages import weights
from robaudit.errors import RobauditError
from robaudit.training.selection import Selection

RESUME = "resume.pt"
_REST = "rest.pt"
_PARTS = ("network", "optimiser")


def pack_state(folder: Path, *, exact: bool) -> bytes | None:
    """The run in `folder` as it was after its last epoch; None where it has not finished one.

    Args:
        folder: the run's.
        exact: keep the weights in 32 bits.

    """
    path = folder / RESUME
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    healthy = state.pop("healthy", None)
    members = {part: weights.pack(state[part], half=part == "optimiser" or not exact) for part in _PARTS}
    if healthy is not None:
        # After an epoch that is not masked the last healthy weights are those that the run continues with.
        same = all(_equal(healthy[part], state[part]) for part in _PARTS)
        state["healthy_is_last"] = same
        if not same:
            members |= {f"healthy.{part}": weights.pack(healthy[part], half=True) for part in _PARTS}
    rest = io.BytesIO()
    torch.save({name: value for name, value in state.items() if name not in _PARTS}, rest)
    members[_REST] = rest.getvalue()
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return whole.getvalue()


def unpack_state(data: bytes, folder: Path, *, best_kept: bool = False) -> None:
    """Write the run's `resume.pt` into `folder`.

    Args:
        data: what `pack_state` made.
        folder: made where it is missing.
        best_kept: whether the best weights were kept beside it; without them the next epoch is the best.

    Raises:
        RobauditError: the bytes are damaged.

    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        state = torch.load(io.BytesIO(members[_REST]), map_location="cpu", weights_only=True)
        state |= {part: weights.unpack(members[part])[0] for part in _PARTS}
        state["healthy"] = _healthy(state, members)
    except (zipfile.BadZipFile, KeyError, RuntimeError, ValueError) as error:
        raise RobauditError(
            f"state: is damaged ({type(error).__name__}); take it again from the call that wrote it"
        ) from error
    if not best_kept:
        state["selection"] = Selection("robust").state()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / RESUME)


def _healthy(state: dict[str, Any], members: dict[str, bytes]) -> dict[str, Any] | None:
    same = state.pop("healthy_is_last", None)
    if same is None:
        return None
    if same:
        return {part: state[part] for part in _PARTS}
    return {part: weights.unpack(members[f"healthy.{part}"])[0] for part in _PARTS}


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
