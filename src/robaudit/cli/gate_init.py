"""`robaudit gate --init`: a policy for the checkpoints that are there, to be read and corrected."""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robaudit import files
from robaudit.cli.common import console
from robaudit.datasets import DATASETS
from robaudit.errors import RobauditError
from robaudit.escaping import plain
from robaudit.plan import eps_text

if TYPE_CHECKING:
    from robaudit.inputs import Inspection

#: Endings of files that hold networks.
_ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".pt2", ".onnx")
#: Folders that hold others' files.
_FOREIGN = {"node_modules", "venv", "env", "site-packages", "__pycache__", "build", "dist"}
#: Files and folders that are looked at, and checkpoints that are opened.
_ENTRIES, _MODELS = 100_000, 200


@dataclass(frozen=True)
class Sorted:
    """A checkpoint, the data sets that it may be for, the likeliest first, or why it is left out."""

    path: Path
    datasets: tuple[str, ...] = ()
    reason: str = ""


def write_policy(models: Sequence[Path], policy: Path | None) -> int:
    """Write the policy and say what is in it.

    Args:
        models: the checkpoints, or none for all below the working directory.
        policy: the file to write; robaudit.toml here by default.

    Raises:
        RobauditError: there is a policy already, or no checkpoint.

    """
    target = policy or Path("robaudit.toml")
    if target.name == "pyproject.toml":
        raise RobauditError(
            f"{target}: is your project's own; write a robaudit.toml and move it there yourself"
        )
    if target.exists() or target.is_symlink():
        raise RobauditError(f"{target}: is there already; edit it, or move it away")
    folder = target.parent.resolve()
    paths = list(models) or list(_below(Path()))
    if not paths:
        raise RobauditError(
            "no checkpoint here or below; name one: robaudit gate --init models/a.safetensors"
        )
    found = [_sort(path, folder) for path in paths]
    groups: dict[str, list[Sorted]] = {}
    for item in found:
        if item.datasets:
            groups.setdefault(item.datasets[0], []).append(item)
    if not groups:
        raise RobauditError(f"{found[0].path}: {found[0].reason}; write the policy by hand (docs/gate.md)")
    _write(target, _text(groups, [item for item in found if not item.datasets], folder))
    count = sum(map(len, groups.values()))
    for line in (
        *(f"left out: {item.path}: {item.reason}" for item in found if not item.datasets),
        f"{target}: {count} checkpoint{'s' * (count != 1)}, for {', '.join(groups)}; read it, then: robaudit gate",
    ):
        console().print(plain(line), markup=False, soft_wrap=True)
    return 0


def _write(target: Path, text: str) -> None:
    try:
        with files.replacing(target, new=True) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RobauditError(
            f"{target}: cannot be written ({error.strerror}); choose another --policy"
        ) from error


def _below(folder: Path) -> Iterator[Path]:
    """The files below a folder that may hold networks, hidden and others' folders left out."""
    seen = itertools.count()
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _FOREIGN
            and not (Path(place) / name / "pyvenv.cfg").exists()
        )
        found += [Path(place) / name for name in sorted(names) if name.endswith(_ENDINGS)]
        if next(seen) > _ENTRIES or len(found) >= _MODELS:
            break
    return iter(found[:_MODELS])


def _sort(path: Path, folder: Path) -> Sorted:
    from robaudit.inputs import inspect_checkpoint

    if not path.resolve().is_relative_to(folder):
        return Sorted(path, reason="lies outside the policy's folder")
    try:
        str(path).encode()
        found = inspect_checkpoint(str(path))
    except (RobauditError, ValueError) as error:
        return Sorted(path, reason=str(error).splitlines()[0].removeprefix(f"{path}: "))
    if not (found.classes and (found.architectures or found.format in ("onnx", "torchscript", "pt2"))):
        return Sorted(path, reason="no network that is known by its tensors")
    names = _datasets_of(found)
    if not names:
        return Sorted(path, reason=f"no data set with a name has {found.classes} classes of such images")
    return Sorted(path, names)


def _datasets_of(found: Inspection) -> tuple[str, ...]:
    """The data sets with a name that the network may be for; one that is in the path goes first."""
    words = re.sub(r"[^a-z0-9]", "", found.path.lower())
    shape = found.input_shape
    fitting = [name for name, spec in DATASETS.items() if spec.classes == found.classes]
    if shape is not None:
        fitting = [name for name in fitting if DATASETS[name].shape[0] == shape[0]]
        fitting = [name for name in fitting if DATASETS[name].shape == shape] or fitting
    # The longest name goes first, for fashion-mnist holds another's.
    return tuple(sorted(fitting, key=lambda name: -len(name) * (name.replace("-", "") in words)))


def _text(groups: dict[str, list[Sorted]], left: Iterable[Sorted], folder: Path) -> str:
    lines = [
        "# What this project demands of its checkpoints; `robaudit gate` reads it. Paths lie beside this file.",
        'evidence = ".robaudit"   # kept by the content of checkpoint, data and policy',
    ]
    for name, items in groups.items():
        others = sorted({other for item in items for other in item.datasets[1:]})
        doubt = f"   # or {', '.join(others)}: correct it" if others else ""
        lines += [
            "",
            "[[datasets]]",
            f"dataset = {_quoted(name)}{doubt}",
            "models = [",
            *(f"  {_quoted(_pattern(item.path, folder))}," for item in items),
            "]",
            f'eps = "{eps_text(DATASETS[name].eps_linf)}"',
            "max-gap = 0.08                # between PGD-10 and Square",
            "# min-robust-accuracy = 0.45  # under AutoAttack",
        ]
    lines += ["", *(f"# left out: {plain(item.path)}: {plain(item.reason)}" for item in left)]
    return "\n".join(lines).rstrip() + "\n"


def _pattern(path: Path, folder: Path) -> str:
    """A checkpoint's path beside the policy, as a pattern that fits nothing else."""
    return glob.escape(path.resolve().relative_to(folder).as_posix())


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's, but for the one control character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
