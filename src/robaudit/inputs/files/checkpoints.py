"""What a file holds, told by its first bytes and read without running anything in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robaudit.errors import RobauditError
from robaudit.inputs.files.archives import Archive, open_archive
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.files.pickle_names import refuse_unsafe
from robaudit.inputs.files.pickles import PICKLE, Inert, UnsafePickle, read_pickle
from robaudit.inputs.files.plain_objects import PLAIN
from robaudit.inputs.files.safetensors_files import is_safetensors, read_safetensors
from robaudit.inputs.files.tensors import STORAGES, TENSORS, storage_reader

RESAVE = "load it where you trust it and save torch.save(model.state_dict(), 'weights.pt')"
#: The number that is the first pickle of PyTorch's format before 1.6, and its end.
LEGACY = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
#: First bytes of what is not a checkpoint, and what to do.
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
        copy: the file's bytes, which tensors of the tree share.
        format: `safetensors`, `pytorch zip`, `pytorch legacy`, or a program's: `torchscript`, `pt2`, `onnx`.
        tree: nested dicts, lists, tensors and plain values; None for a program.
        metadata: text entries of a safetensors header.

    """

    copy: FileCopy
    format: str
    tree: Any = field(default=None, repr=False)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file, for messages."""
        return self.copy.path


def read_checkpoint(copy: FileCopy) -> Contents:
    """Read a file of tensors, or tell that it is a program.

    Raises:
        RobauditError: not a checkpoint, or one that cannot be read safely.

    """
    if copy.parts:
        return _joined(copy)
    path, head = copy.path, bytes(copy.data[:512])
    for magic, advice in FOREIGN:
        if head.startswith(magic):
            raise RobauditError(f"{path}: {advice}")
    if head.lstrip()[:1] == b"<":
        raise RobauditError(f"{path}: is an HTML or XML page, not a checkpoint; download the raw file")
    if head.startswith(b"PK"):
        archive = open_archive(copy)
        kind = _archive_kind(archive)
        return Contents(copy, kind, read_archive(archive) if kind == "pytorch zip" else None)
    if is_safetensors(copy):
        return Contents(copy, "safetensors", *read_safetensors(copy))
    if head.startswith(b"\x80"):
        return Contents(copy, "pytorch legacy", _read_legacy(copy))
    if head[257:262] == b"ustar":
        raise RobauditError(f"{path}: is a tar archive; unpack it and pass the checkpoint inside")
    if path.suffix == ".onnx" or head[:1] == b"\x08":
        return Contents(copy, "onnx")
    if path.suffix == ".safetensors":
        raise RobauditError(f"{path}: is not a safetensors file, or cut short; download it again")
    raise RobauditError(
        f"{path}: not a recognised checkpoint (PyTorch, safetensors, TorchScript, .pt2, ONNX); pass one"
    )


def _joined(copy: FileCopy) -> Contents:
    """The tensors of all parts of one network.

    Raises:
        RobauditError: a part cannot be read, is not a plain state dict, or holds what another one does.

    """
    tree: dict[str, Any] = {}
    for part in copy.parts:
        contents = read_checkpoint(part)
        if not isinstance(contents.tree, Mapping) or tree.keys() & contents.tree.keys():
            raise RobauditError(f"{part.path}: is not a part of a network with the others; download it again")
        tree |= contents.tree
    in_order = sorted(tree) if contents.format == "safetensors" else tree  # as one such file has them
    return Contents(copy, contents.format, {name: tree[name] for name in in_order})


def _archive_kind(archive: Archive) -> str:
    """What an archive's records say: `torchscript`, `pt2` or `pytorch zip`.

    Raises:
        RobauditError: another kind.

    """
    names = archive.names
    lasts = {name.split("/", 1)[-1] for name in names}
    if "archive_format" in lasts or any(name.endswith("serialized_exported_program.json") for name in names):
        return "pt2"
    if "constants.pkl" in lasts or any(last.startswith("code/") for last in lasts):
        return "torchscript"
    if "data.pkl" in lasts:
        return "pytorch zip"
    if names and all(name.endswith(".npy") for name in names):
        raise RobauditError(
            f"{archive.path}: is a numpy archive; pass it as --dataset, or a checkpoint as the model"
        )
    raise RobauditError(f"{archive.path}: is a zip archive without a PyTorch checkpoint; unpack it first")


def read_archive(archive: Archive) -> Any:
    """The tree of a PyTorch archive: dicts, lists, tensors, plain values, `Inert` for all else.

    Raises:
        RobauditError: it is damaged, or asks for what only an attack asks for.

    """
    pickles = [name for name in archive.names if name.split("/", 1)[-1] == "data.pkl"]
    if len(pickles) != 1:
        raise RobauditError(
            f"{archive.path}: holds {len(pickles)} checkpoints in one archive; get another copy"
        )
    folder = pickles[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive and bytes(archive.read(order, 16)) != b"little":
        raise RobauditError(f"{archive.path}: was written on a big-endian machine; {RESAVE}")

    def find(key: str, _: int) -> memoryview | None:
        name = f"{folder}data/{key}"
        return archive.read(name, archive.size(name)) if name in archive else None

    return _tree(archive.path, archive.read(pickles[0], PICKLE), 0, storage_reader(find))[0]


def _tree(path: Path, data: memoryview, start: int, storages: Any) -> tuple[Any, int]:
    """What a checkpoint's pickle holds, and where it ends.

    Raises:
        RobauditError: it names what only an attack does, is damaged, or is a whole object.

    """
    try:
        tree, names, end = read_pickle(data, start, {**TENSORS, **PLAIN}, storages)
        refuse_unsafe(names)
    except (UnsafePickle, TypeError, RuntimeError) as error:
        reason = str(error) if isinstance(error, UnsafePickle) else f"is damaged ({type(error).__name__})"
        todo = f"do not trust it; {RESAVE}" if "asks to run" in reason else "download it again"
        raise RobauditError(f"{path}: {reason}; {todo}") from error
    if isinstance(tree, Inert) and not tree.lacking:
        raise RobauditError(
            f"{path}: is a whole pickled object ({tree.named}), which is never unpickled; {RESAVE}"
        )
    return tree, end


def _read_legacy(copy: FileCopy) -> Any:
    """PyTorch's format before 1.6: five pickles in a row, then the storages' bytes."""
    path, data = copy.path, copy.data
    first = bytes(data[:32]).find(LEGACY)
    if first not in (2, 11):  # after the protocol's number, from protocol 4 on after a frame's length too
        raise RobauditError(f"{path}: is a plain pickle, which is never unpickled; {RESAVE}")
    widths: dict[str, int] = {}

    def size(identifier: Any) -> Any:
        """Note how wide the numbers of each storage are; the bytes come after the pickles."""
        if isinstance(identifier, tuple) and len(identifier) > 4 and isinstance(identifier[2], str):
            kind = getattr(identifier[1], "text", "").rpartition(" ")[2].removesuffix("Storage")
            widths[identifier[2]] = STORAGES[kind].itemsize if kind in STORAGES else 0
        return None

    try:
        protocol = read_pickle(data, first + len(LEGACY))
        system, _, start = read_pickle(data, protocol[2])
        _, names, end = read_pickle(data, start, persistent=size)
        refuse_unsafe(names)
        keys, _, end = read_pickle(data, end)
    except UnsafePickle as error:
        todo = f"do not trust it; {RESAVE}" if "asks to run" in str(error) else "download it again"
        raise RobauditError(f"{path}: {error}; {todo}") from error
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise RobauditError(f"{path}: was written on a big-endian machine, or is damaged; {RESAVE}")
    places = _legacy_places(path, data, end, keys, widths)
    return _tree(path, data, start, storage_reader(lambda key, _: places.get(key)))[0]


def _legacy_places(
    path: Path, data: memoryview, place: int, keys: Any, widths: dict[str, int]
) -> dict[str, memoryview]:
    """The bytes of each storage: a count, then that many numbers, in the order of the keys."""
    places: dict[str, memoryview] = {}
    for key in keys if isinstance(keys, list) else ():
        count = int.from_bytes(data[place : place + 8], "little", signed=True)
        end = place + 8 + count * widths.get(key, 0) if isinstance(key, str) else 0
        if count < 0 or end < place + 8 or end > len(data) or key in places:
            raise RobauditError(f"{path}: is damaged or cut short (its storages); download it again")
        places[key] = data[place + 8 : end]
        place = end
    return places


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
