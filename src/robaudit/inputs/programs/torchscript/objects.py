"""The objects of a TorchScript archive: tensors, lists, tables, and the archive's own classes by their attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from robaudit.errors import RobauditError
from robaudit.inputs.files.archives import Archive
from robaudit.inputs.files.pickles import PICKLE, Inert, UnsafePickle, read_pickle, scan
from robaudit.inputs.files.tensors import TENSORS, storage_reader


class UnreadError(RobauditError):
    """The archive holds what is not read here, in words that continue 'FILE: has'."""

    def __init__(self, what: str) -> None:
        super().__init__(f"has {what}, which is not read as data")


class Instance(Inert):
    """An object of a class that the archive's code defines: attributes, and nothing that could be called."""

    def __init__(self, kind: str = "") -> None:
        super().__init__(kind)
        self.kind = kind

    @property
    def attributes(self) -> dict[str, Any]:
        """By name."""
        return self.state if isinstance(self.state, dict) else {}


class Record(tuple[Any, ...]):
    """A tuple whose items have names."""

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: tuple[str, ...], items: Sequence[Any]) -> Record:
        """A record of these items."""
        if len(names) != len(items):
            raise UnreadError("a tuple of another length")
        record = cls(items)
        record.names = names
        return record


def member(kind: str, value: Any) -> Record:
    """A member of an enumeration."""
    return Record.of(("kind", "value"), (kind, value))


def read_objects(
    archive: Archive, name: str, records: dict[str, tuple[str, ...]], enums: dict[str, dict[str, Record]]
) -> Any:
    """What a pickle of an archive holds.

    Args:
        archive: the archive.
        name: of the pickle, without its ending; the folder of its storages has it too.
        records: as `Script` has them.
        enums: likewise.

    Raises:
        UnreadError: it is damaged or holds another kind of object.

    """
    known: dict[Any, Tensor] = {}

    def tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
        made: Tensor = TENSORS["torch._utils _rebuild_tensor_v2"](storage, offset, size, stride, *rest)
        made = made.float() if made.is_floating_point() else made
        return known.setdefault((id(storage), offset, size, stride), made)  # a shared one stays one

    def maker(text: str) -> Callable[..., Any]:
        full = text.replace(" ", ".", 1)
        if full in enums:
            return lambda value: member(full, value)
        if full in records:
            return lambda *items: Record.of(records[full], items)
        if full.startswith("__torch__."):
            return lambda *_: Instance(full)
        if text == "torch._utils _rebuild_tensor_v2":
            return tensor
        if text in _PLAIN:
            return _PLAIN[text]
        if text.startswith("torch ") and text.endswith("Storage"):
            return lambda *_: None  # only named
        raise UnreadError(f"objects of {full[:80]!r}")

    def storage(key: str, _: int) -> memoryview | None:
        place = f"{name}/{key}"
        return archive.read(place, archive.size(place)) if place in archive else None

    data = archive.read(f"{name}.pkl", PICKLE)
    try:
        makers = {text: maker(text) for text in scan(data)[0]}
        return read_pickle(data, 0, makers, storage_reader(storage))[0]
    except UnsafePickle as error:
        raise UnreadError(f"objects that are damaged or strange ({error})") from error


_PLAIN: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": lambda *_: {},
    "torch device": lambda *_: None,
    "torch.jit._pickle restore_type_tag": lambda value, *_: value,
    **{f"torch.jit._pickle build_{kind}list": list for kind in ("int", "double", "bool", "tensor")},
}
