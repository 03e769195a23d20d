"""What a file holds, told by its first bytes and read without running anything in it."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from robaudit.errors import RobauditError
from robaudit.inputs.files.archives import archive_kind, open_archive, read_record
from robaudit.inputs.files.pickle_names import UnsafePickle, refuse_unsafe
from robaudit.inputs.files.pickles import PICKLE, Inert, check_tree, empty_dict, scan, stand_in

RESAVE = "load it where you trust it and save torch.save(model.state_dict(), 'weights.pt')"
#: The first pickle of PyTorch's format before 1.6.
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
#: First bytes of what is no checkpoint, and what to do.
FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file; run 'git lfs pull'"),
    (b"\x1f\x8b", "is gzip-compressed; unpack it first"),
    (b"BZh", "is bzip2-compressed; unpack it first"),
    (b"\xfd7zXZ", "is xz-compressed; unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it first"),
    (b"Rar!", "is a RAR archive; unpack it first"),
    (b"\x89HDF", "is an HDF5 file (Keras); convert the model to ONNX first"),
    (b"\x89PNG", "is an image; pass a checkpoint"),
    (b"\xff\xd8\xff", "is an image; pass a checkpoint"),
    (b"%PDF", "is a PDF; pass a checkpoint"),
    (b"GGUF", "is a GGUF file; pass a PyTorch, safetensors or ONNX checkpoint"),
    (b"\x93NUMPY", "is a numpy array; pass a checkpoint"),
)


@dataclass(frozen=True)
class Contents:
    """A checkpoint file's contents.

    Attributes:
        path: the file.
        format: `safetensors`, `pytorch zip`, `pytorch legacy`, or a program's: `torchscript`, `pt2`, `onnx`.
        tree: nested dicts, lists, tensors and plain values; None for a program.
        metadata: text entries of a safetensors header.

    """

    path: Path
    format: str
    tree: Any = field(default=None, repr=False)
    metadata: dict[str, str] = field(default_factory=dict)


def file_sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_checkpoint(path: Path) -> Contents:
    """Read a file of tensors, or tell that it is a program.

    Raises:
        RobauditError: no such file, or not a checkpoint, or one that cannot be read safely.

    """
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except IsADirectoryError:
        raise RobauditError(f"{path}: is a folder; pass the checkpoint file inside it") from None
    except OSError as error:
        raise RobauditError(
            f"{path}: {(error.strerror or 'unreadable').lower()}; pass a checkpoint's path"
        ) from error
    if not head:
        raise RobauditError(f"{path}: is empty; download it again")
    for magic, advice in FOREIGN:
        if head.startswith(magic):
            raise RobauditError(f"{path}: {advice}")
    if head.lstrip()[:1] == b"<":
        raise RobauditError(f"{path}: is an HTML or XML page, not a checkpoint; download the raw file")
    if head.startswith(b"PK"):
        return _read_zip(path)
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return _read_safetensors(path)
    if head.startswith(b"\x80"):
        return _read_pickled(path, head)
    if head[257:262] == b"ustar":
        raise RobauditError(f"{path}: is a tar archive; unpack it and pass the checkpoint inside")
    if path.suffix == ".onnx" or head[:1] == b"\x08":
        return Contents(path, "onnx")
    if path.suffix == ".safetensors":
        raise RobauditError(f"{path}: is not a safetensors file, or cut short; download it again")
    raise RobauditError(
        f"{path}: not a recognised checkpoint (PyTorch, safetensors, TorchScript, .pt2, ONNX); pass one"
    )


def _read_safetensors(path: Path) -> Contents:
    try:
        with safe_open(str(path), "pt") as content:  # checks the header against the file's size
            tree = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
            return Contents(path, "safetensors", tree, dict(content.metadata() or {}))
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        raise RobauditError(
            f"{path}: is a damaged or cut-short safetensors file; download it again"
        ) from error


def _read_zip(path: Path) -> Contents:
    with open_archive(path) as archive:
        kind = archive_kind(archive)
        if kind in ("torchscript", "pt2"):
            return Contents(path, kind)
        if kind == "npz":
            raise RobauditError(
                f"{path}: is a numpy archive; pass it as --dataset, or a checkpoint as the model"
            )
        if kind != "pytorch":
            raise RobauditError(f"{path}: is a zip archive without a PyTorch checkpoint; unpack it first")
        records = {record.filename: record for record in archive.infolist()}
        name = next(name for name in records if name.split("/", 1)[-1] == "data.pkl" or name == "data.pkl")
        folder = name.removesuffix("data.pkl") + "data/"
        data = read_record(archive, name, PICKLE)
        mapped = all(record.compress_type == zipfile.ZIP_STORED for record in records.values())

    def size(key: str, _: int) -> int:
        record = records.get(folder + key)
        return record.file_size if record else -1

    names = _checked(path, data, size)
    return Contents(path, "pytorch zip", _torch_load(path, names, mapped))


def _read_pickled(path: Path, head: bytes) -> Contents:
    """PyTorch's format before 1.6: five pickles in a row, then the storages' bytes."""
    if not head.startswith(LEGACY):
        raise RobauditError(f"{path}: is a plain pickle, which is never unpickled; {RESAVE}")
    data = path.read_bytes()
    left = {"": len(data)}

    def size(key: str, claimed: int) -> int:
        if key not in left:
            left[key] = min(left[""], claimed)
            left[""] -= claimed
        return left[key]

    try:
        start = scan(data, 0)[1]
        for _ in range(2):  # protocol version, system information
            start = scan(data, start)[1]
    except UnsafePickle as error:
        raise RobauditError(f"{path}: {error}; download it again") from error
    names = _checked(path, data, size, start)
    return Contents(path, "pytorch legacy", _torch_load(path, names, mapped=False))


def _checked(path: Path, data: bytes, size: Callable[[str, int], int], start: int = 0) -> set[str]:
    """The names in a pickle that is safe to hand to torch.

    Raises:
        RobauditError: it is not.

    """
    try:
        names, _ = scan(data, start)
        refuse_unsafe(names)
        tree = check_tree(data, start, size)
    except UnsafePickle as error:
        todo = f"do not trust it; {RESAVE}" if "asks to run" in str(error) else "download it again"
        raise RobauditError(f"{path}: {error}; {todo}") from error
    if isinstance(tree, Inert) and tree.named != "torch.Tensor":
        raise RobauditError(
            f"{path}: is a whole pickled object ({tree.named}), which is never unpickled; {RESAVE}"
        )
    return names


def _torch_load(path: Path, names: set[str], mapped: bool) -> Any:
    """`torch.load` with inert stand-ins for the names of plain data that torch does not know."""
    allowed = [
        (empty_dict if name == "collections defaultdict" else stand_in(name), name.replace(" ", "."))
        for name in names
        if not _known(name)
    ]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped or None)
    except pickle.UnpicklingError as error:
        objects = ", ".join(sorted(name.replace(" ", ".") for name in names if not _known(name))[:3])
        raise RobauditError(
            f"{path}: holds objects that are never unpickled ({objects or 'unusual ones'}); {RESAVE}"
        ) from error
    except MemoryError as error:
        raise RobauditError(f"{path}: does not fit into memory; free some or use a larger machine") from error
    except Exception as error:
        raise RobauditError(
            f"{path}: is damaged or cut short ({type(error).__name__}); download it again"
        ) from error


def _known(name: str) -> bool:
    """Whether torch itself handles a name in its weights-only reading."""
    module, _, last = name.partition(" ")
    rebuilt = module == "torch._utils" or name in ("collections OrderedDict", "torch Size", "torch device")
    return (
        rebuilt
        or (module.startswith("torch") and last.endswith("Storage"))
        or (module == "torch" and isinstance(getattr(torch, last, None), torch.dtype))
    )


def own_metadata(contents: Contents) -> dict[str, Any]:
    """What `save_classifier` wrote into the file, checked; nothing for other files."""
    try:
        entry = json.loads(contents.metadata.get("robaudit", "{}"))
    except json.JSONDecodeError:
        return {}
    if not isinstance(entry, Mapping):
        return {}
    shape = entry.get("input_shape")
    sound = (
        isinstance(entry.get("architecture"), str)
        and isinstance(entry.get("normalisation"), str)
        and isinstance(shape, list)
        and len(shape) == 3
        and all(isinstance(n, int) and 0 < n <= 4096 for n in shape)
    )
    return dict(entry) if sound else {}
