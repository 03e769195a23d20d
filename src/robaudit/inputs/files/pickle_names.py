"""Which names in a checkpoint's pickle are plain data, and which are an attempt to run something.

Neither is ever imported or called (`pickle_opcodes`): what is refused here is refused because nobody should trust the
rest of a file that tries.
"""

from __future__ import annotations

import sys

from robaudit.inputs.files.pickles import UnsafePickle

#: Standard-library names that plain data is made of.
HARMLESS = frozenset({
    "argparse Namespace", "types SimpleNamespace", "_codecs encode", "copyreg _reconstructor",
    "copy_reg _reconstructor", "uuid UUID", "decimal Decimal", "fractions Fraction", "enum Enum", "enum IntEnum",
    *(f"collections {name}" for name in ("OrderedDict", "defaultdict", "Counter", "deque", "ChainMap", "UserDict")),
    *(f"datetime {name}" for name in ("datetime", "timedelta", "date", "time", "timezone")),
    *(f"{module} {name}" for module in ("pathlib", "pathlib._local")
      for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")),
    *(f"{module} {name}" for module in ("builtins", "__builtin__")
      for name in ("set", "frozenset", "bytearray", "slice", "complex", "int", "float", "str", "bool", "list",
                   "dict", "tuple", "object", "bytes", "unicode", "long", "range", "xrange", "Ellipsis", "NoneType")),
    "logging getLogger", "logging Logger", "re _compile", "re Pattern", "time struct_time", "array array",
    "array _array_reconstructor", "numpy.rec recarray", "random Random", "_io BytesIO", "_io StringIO",
    *(f"ipaddress {name}" for name in ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network")),
    *(f"{module} {name}" for module in ("operator", "_operator") for name in ("lt", "le", "gt", "ge", "eq", "ne")),
    *(f"{module} {name}" for module in ("builtins", "__builtin__")
      for name in ("abs", "len", "max", "min", "round", "sum", "sorted", "NotImplemented")),
    *(f"numpy {name}" for name in (
        "less", "less_equal", "greater", "greater_equal", "mean", "median", "std", "argmax", "argmin", "record",
        "recarray", "datetime64", "timedelta64", "void", "intc", "longlong", "ulonglong", "longdouble")),
    *(f"numpy {name}" for name in (
        "dtype", "ndarray", "bool_", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8",
        "uint16", "uint32", "uint64", "str_", "bytes_", "complex64", "complex128", "generic")),
    *(f"numpy.{core}.multiarray {name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.{core}.numeric _frombuffer" for core in ("core", "_core")),
    *(f"numpy.random.{name}" for name in (
        "_pickle __randomstate_ctor", "_pickle __generator_ctor", "_pickle __bit_generator_ctor",
        "_mt19937 MT19937", "_pcg64 PCG64", "mtrand RandomState", "_generator Generator",
        "bit_generator SeedSequence", "_pcg64 __pyx_unpickle_PCG64", "bit_generator __pyx_unpickle_SeedSequence")),
    "torch Size", "torch device", "torch Generator", "torch._C Generator",
    "torch layout", "torch memory_format", "torch dtype", "torch Tensor", "torch strided", "torch sparse_coo",
    "torch sparse_csr", "torch per_tensor_affine", "torch per_channel_affine", "torch per_channel_symmetric",
    "torch per_channel_affine_float_qparams", "torch per_tensor_symmetric",
    "torch.nested._internal.nested_tensor NestedTensor",
    "torch.serialization _get_layout", "torch._tensor _rebuild_from_type_v2",
    "torch.storage UntypedStorage", "torch.storage TypedStorage", "torch.nn Module", "torch.nn Parameter",
    "torch.nn.backends.thnn _get_thnn_function_backend", "torch.jit._pickle restore_type_tag",
    "torch.jit._pickle build_tensorlist",
    *(f"torch.jit._pickle build_{kind}list" for kind in ("int", "double", "bool")),
})  # fmt: skip
#: Modules of torch that hold classes whose instances people keep beside their weights.
KEPT = (
    "torch.optim.", "torch.nn.modules.", "torch.nn.backends.", "torch.nn.parameter", "torch.utils.data.",
    "torch.distributions.", "torch.cuda.amp.", "torch.amp.", "torch.ao.nn.", "torch.nn.quantized.",
    "torch.nn.utils.parametrizations", "torch.nn.utils.parametrize", "torch.ao.quantization.", "torch.nn.parallel.",
    "torchvision.models.", "torchvision.transforms.",
)  # fmt: skip
#: Modules whose functions and classes only compute.
PURE = ("torch.nn.functional.", "torch.nn.init.", "numpy.ma.", "scipy.sparse.")
#: Modules beside the standard library's that only an attack names.
OUTSIDE = frozenset({
    "nt", "posix", "__builtin__", "commands", "pip", "setuptools", "pkg_resources", "cPickle", "distutils", "imp",
    "asyncore", "torchgen", "_pytest", "pytest", "IPython", "numexpr",
})  # fmt: skip
#: Functions in `torch._utils` rebuild tensors; those that are not supported give an `Inert` that says so.
REBUILD = "torch._utils _rebuild_"


def refuse_unsafe(names: set[str]) -> None:
    """Refuse names of things that do something.

    Raises:
        UnsafePickle: a name is of the standard library, torch or numpy and not plain data, or has a dot where no
            checkpoint has one.

    """
    for name in sorted(names):
        module, _, last = name.partition(" ")
        top = module.split(".")[0]
        if name in HARMLESS or name.startswith(REBUILD):
            continue
        ours = top in ("torch", "torchvision", "numpy", "scipy", "robaudit")
        if (
            f"{module}.".startswith(PURE) and last.isidentifier()
        ):  # a loss that somebody keeps: no more than its name
            continue
        if ours and ((module.startswith(KEPT) and last[:1].isupper()) or _plain_torch(module, last)):
            continue
        if ours or (top != "__main__" and (top in sys.stdlib_module_names or top in OUTSIDE)):
            what = f"it asks to run {_shown(module)}.{_shown(last)}"
            packed = name == "torch ScriptObject" and any(
                other.startswith(("torch.ao.nn.quantized.", "torch.nn.quantized.")) for other in names
            )
            raise UnsafePickle(
                f"{what}, the packed weights of a quantised network (pass the float model)"
                if packed
                else what
            )


def _shown(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."


def _plain_torch(module: str, last: str) -> bool:
    """Storages and types: `torch FloatStorage`, `torch float32`, `torch.cuda FloatStorage`."""
    if module not in ("torch", "torch.cuda", "torch.storage"):
        return False
    return last.endswith("Storage") or last in TYPES


#: Every number that a tensor may hold, and its bytes.
TYPES = {
    "float32": 4, "float": 4, "float64": 8, "double": 8, "float16": 2, "half": 2, "bfloat16": 2, "int64": 8, "long": 8,
    "int32": 4, "int": 4, "int16": 2, "short": 2, "int8": 1, "uint8": 1, "bool": 1, "complex64": 8, "cfloat": 8,
    "complex128": 16, "cdouble": 16, "uint16": 2, "uint32": 4, "uint64": 8, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "complex32": 4, "chalf": 4, "qint8": 1, "quint8": 1, "qint32": 4,
}  # fmt: skip
