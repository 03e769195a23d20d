"""Which names in a checkpoint's pickle are plain data, and which are an attempt to run something."""

from __future__ import annotations

import sys

import torch

#: Standard-library names that plain data is made of. Nothing here does anything.
HARMLESS = {
    "collections OrderedDict", "collections defaultdict", "collections Counter", "collections deque",
    "argparse Namespace", "types SimpleNamespace", "_codecs encode", "copyreg _reconstructor",
    "copy_reg _reconstructor", "datetime datetime", "datetime timedelta", "datetime date", "uuid UUID",
    "decimal Decimal", "fractions Fraction", "pathlib Path", "pathlib PosixPath", "pathlib WindowsPath",
    "pathlib PurePosixPath", "enum Enum", "enum IntEnum",
    *(f"{module} {name}" for module in ("builtins", "__builtin__")
      for name in ("set", "frozenset", "bytearray", "slice", "complex", "int", "float", "str", "bool", "list",
                   "dict", "tuple", "object", "bytes", "unicode", "long", "range", "xrange")),
}  # fmt: skip
#: Torch's and numpy's names that carry data; all else of theirs is refused.
DATA_PREFIXES = (
    "torch._utils _rebuild_", "torch.optim", "torch.nn.modules", "torch.nn.backends", "torch.nn.parameter",
    "torch Size", "torch device", "torch.serialization _get_layout", "torch._tensor _rebuild_from_type_v2",
    "torch.nn ", "torch.utils.data", "torch.storage ", "torch.distributions", "torch.cuda.amp", "torch.amp",
)  # fmt: skip
#: Modules beside the standard library's that only an attack names.
OUTSIDE = {"nt", "posix", "__builtin__", "commands", "pip", "setuptools", "cPickle", "webbrowser"}
#: Parts of numpy that carry data.
NUMPY = (
    "dtype",
    "ndarray",
    "scalar",
    "_reconstruct",
    "dtypes",
    "RandomState",
    "float",
    "int",
    "bool",
    "random",
)


class UnsafePickle(Exception):  # noqa: N818  turned into a RobauditError that names the file
    """What is wrong with a pickle, in words that continue 'FILE: '."""


def refuse_unsafe(names: set[str]) -> None:
    """Refuse names of things that do something.

    Raises:
        UnsafePickle: a name is of the standard library, torch or numpy and not plain data.

    """
    for name in sorted(names):
        module = name.split(" ")[0]
        top = module.split(".")[0]
        if name in HARMLESS:
            continue
        if top in ("torch", "torchvision"):
            data = name.startswith(DATA_PREFIXES) or _plain_torch(name)
            if not data:
                raise UnsafePickle(f"it asks to run {name.replace(' ', '.')}")
        elif top == "numpy":
            if not any(part in name.split(" ")[-1] or part in module.split(".") for part in NUMPY):
                raise UnsafePickle(f"it asks to run {name.replace(' ', '.')}")
        elif top != "__main__" and (top in sys.stdlib_module_names or top in OUTSIDE):
            raise UnsafePickle(f"it asks to run {name.replace(' ', '.')}")


def _plain_torch(name: str) -> bool:
    """Storages and dtypes: `torch FloatStorage`, `torch float32`, `torch.cuda FloatStorage`."""
    module, _, last = name.partition(" ")
    return module in ("torch", "torch.cuda", "torch.storage") and (
        last.endswith("Storage") or isinstance(getattr(torch, last, None), torch.dtype)
    )
