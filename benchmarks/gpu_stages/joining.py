"""Numbered pieces back into whole files, and packed weights into `.safetensors` files."""

from __future__ import annotations

from pathlib import Path

from gpu_stages import pieces, weights
from gpu_stages.results import write_whole
from robaudit.errors import RobauditError

#: What packed weights are called.
WEIGHTS = ".weights"


def join(folder: Path) -> list[str]:
    """Join what lies in `folder`; the pieces stay. A line for each file written.

    Raises:
        RobauditError: no such folder, nothing to join, or pieces that do not belong together.

    """
    if not folder.is_dir():
        raise RobauditError(f"{folder}: no such folder; pass the --out of a stage")
    written = []
    for name in pieces.names_in(folder):
        data = pieces.read(folder, name)
        assert data is not None
        if not name.endswith(WEIGHTS):
            write_whole(folder / name, data)
            written.append(f"{folder / name}  {len(data) / 1e6:.2f} MB")
    packed = {name for name in pieces.names_in(folder) if name.endswith(WEIGHTS)}
    for name in sorted(packed | {path.name for path in folder.glob(f"*{WEIGHTS}")}):
        data = pieces.read(folder, name)
        assert data is not None
        path = folder / f"{name.removesuffix(WEIGHTS)}.safetensors"
        weights.unpack_file(data, path)
        written.append(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
    if not written:
        raise RobauditError(f"{folder}: holds nothing to join; pass the --out of a stage")
    return written
