"""What attackers name in a pickle, and the ways in which they hide it from scanners.

Kinds are those of published bypasses of scanners: names no list has, names put together on the stack or by the memo,
calls whose result is dropped, streams that break off after the call, pickles inside pickles.
"""

from __future__ import annotations

import pickle
import struct

import torch

from tests.hostile.assembling import (
    STOP,
    archive,
    call,
    entries,
    items,
    model,
    name,
    number,
    records_of,
    saved,
    stack_name,
    tensor,
    text,
    zipped,
)
from tests.hostile.harness import Case

COMMAND = 'touch "$CANARY"'
CODE = "import os; open(os.environ['CANARY'], 'w').close()"
#: (module, name, arguments): each touches the canary if anybody calls it.
CALLS: list[tuple[str, str, tuple[bytes, ...]]] = [
    *((module, function, (text(COMMAND),)) for module, function in (
        ("os", "system"), ("posix", "system"), ("os", "popen"), ("subprocess", "getoutput"),
        ("subprocess", "getstatusoutput"), ("commands", "getoutput"), ("popen2", "popen2"), ("pty", "spawn"),
        ("platform", "popen"), ("asyncio", "create_subprocess_shell"), ("torch.utils.collect_env", "run"),
        ("numpy.distutils.exec_command", "exec_command"), ("distutils.spawn", "spawn"), ("imaplib", "IMAP4_stream"),
        ("numpy.testing._private.utils", "runstring"), ("torch._inductor.codecache", "compile_file"),
        ("_pyrepl.pager", "pipe_pager"), ("pydoc", "pipepager"), ("webbrowser", "GenericBrowser"),
        ("mailcap", "findmatch"), ("nt", "system"), ("ctypes", "CDLL"), ("ctypes.util", "_findLib_gcc"),
    )),
    *((module, function, (text(CODE),)) for module, function in (
        ("builtins", "exec"), ("builtins", "eval"), ("__builtin__", "eval"), ("builtins", "compile"),
        ("timeit", "main"), ("timeit", "timeit"), ("profile", "run"), ("cProfile", "run"), ("pdb", "run"),
        ("bdb", "Bdb.run"), ("trace", "Trace.run"), ("code", "InteractiveInterpreter.runcode"), ("doctest", "debug_script"),
        ("idlelib.run", "Executive.runcode"), ("lib2to3.pgen2.grammar", "Grammar.loads"), ("runpy", "_run_code"),
        ("numpy.f2py.crackfortran", "myeval"), ("torch.jit.unsupported_tensor_ops", "execWrapper"),
        ("torch._dynamo.guards", "GuardBuilder.get"), ("torch.fx.experimental.symbolic_shapes", "ShapeEnv.evaluate_guards_expression"),
        ("torch.utils.bottleneck.__main__", "run_cprofile"), ("torch.utils._config_module", "ConfigModule.load_config"),
        ("torch.fx.graph_module", "_exec_with_source"), ("sympy", "sympify"), ("pandas", "eval"), ("numexpr", "evaluate"),
        ("cloudpickle.cloudpickle", "_builtin_type"), ("site", "execsitecustomize"), ("code", "interact"),
    )),
    *((module, function, (text("os.system"),)) for module, function in (
        ("pkgutil", "resolve_name"), ("importlib", "import_module"), ("builtins", "__import__"), ("imp", "load_source"),
        ("operator", "attrgetter"), ("operator", "methodcaller"), ("pydoc", "locate"), ("logging.config", "_resolve"),
        ("unittest.mock", "_importer"), ("importlib.util", "find_spec"), ("sys", "modules"), ("builtins", "globals"),
        ("torch.hub", "load"), ("torch.package", "PackageImporter"), ("torch", "load"), ("joblib", "load"),
        ("torch.serialization", "load"), ("torch.jit", "load"), ("pickle", "loads"), ("_pickle", "loads"),
        ("dill", "loads"), ("marshal", "loads"), ("shelve", "open"), ("shutil", "rmtree"), ("os", "remove"),
        ("builtins", "open"), ("io", "open"), ("_io", "FileIO"), ("socket", "create_connection"),
        ("urllib.request", "urlopen"), ("requests", "get"), ("http.client", "HTTPConnection"), ("smtplib", "SMTP"),
        ("multiprocessing.util", "spawnv_passfds"), ("types", "CodeType"), ("types", "FunctionType"),
        ("functools", "partial"), ("builtins", "getattr"), ("builtins", "setattr"), ("copyreg", "__newobj__"),
        ("copyreg", "add_extension"), ("gc", "get_objects"), ("signal", "alarm"), ("sys", "exit"), ("os", "_exit"),
        ("os", "abort"), ("faulthandler", "_sigsegv"), ("threading", "Thread"), ("atexit", "register"),
        ("torch.storage", "_load_from_bytes"), ("torch._C", "_cuda_init"), ("numpy", "load"), ("numpy", "fromfile"),
        ("numpy", "memmap"), ("numpy.core.multiarray", "fromfile"), ("numpy.ctypeslib", "load_library"),
        ("torch.ops", "load_library"), ("torchvision.io", "read_file"), ("torch", "from_file"), ("torch.classes", "load_library"),
        ("robaudit.inputs.hubs", "fetch"), ("robaudit.inputs.programs", "call_factory"),
    )),
]  # fmt: skip


def _given(module: str, function: str, arguments: tuple[bytes, ...]) -> dict[str, bytes]:
    """One call by every opcode that can make it."""
    inside = b"".join(arguments)
    return {
        "GLOBAL": call(name(module, function), *arguments),
        "STACK_GLOBAL": call(stack_name(module, function), *arguments),
        "INST": b"(" + inside + b"i" + module.encode() + b"\n" + function.encode() + b"\n",
        "OBJ": b"(" + name(module, function) + inside + b"o",
        "NEWOBJ": name(module, function) + items(*arguments) + b"\x81",
        "NEWOBJ_EX": name(module, function) + items(*arguments) + b"}\x92",
        "memo": text("collections") + b"\x94" + text("OrderedDict") + b"\x94" + text(module) + b"q\x00" + text(function)
        + b"q\x01" + b"0000" + b"h\x00h\x01\x93" + items(*arguments) + b"R",
        "dropped": b"N" + call(name(module, function), *arguments) + b"0",
        "BUILD": call(name(module, function), *arguments) + entries((text("__setstate__"), text("x"))) + b"b",
        "class": name(module, function) + b"N}" + text("__call__") + name("os", "system") + b"s\x86b",
    }  # fmt: skip


def pickled_calls() -> list[Case]:
    """Every name by every opcode, in a checkpoint that is good otherwise."""
    good = tensor((10, 10), (10, 1))
    cases = []
    for module, function, arguments in CALLS:
        for how, code in _given(module, function, arguments).items():
            data = archive(model(good, (text("x"), code)))
            cases.append(Case(f"{module}.{function} by {how}", data, harmless=_inert(module)))
    return cases


def _inert(module: str) -> bool:
    """Names of packages that are none of ours: read as what somebody keeps, and never run."""
    return module.split(".", maxsplit=1)[0] in {
        "popen2",
        "joblib",
        "dill",
        "requests",
        "sympy",
        "pandas",
        "cloudpickle",
        "_pyrepl",
    }


def hidden_calls() -> list[Case]:
    """One call in the places of a file where nobody looks."""
    evil = call(name("os", "system"), text(COMMAND))
    good = archive(model(tensor((10, 10), (10, 1))))
    rest = [(n, d) for n, d in records_of(good) if n != "a/data.pkl"]
    fine = dict(records_of(good))["a/data.pkl"]
    whole = b"\x80\x02" + evil + STOP
    state = {"0.weight": torch.ones(10, 10)}
    legacy = saved(state, _use_new_zipfile_serialization=False)
    magic = legacy[: legacy.index(b".") + 1]
    bad = [
        Case("alone", archive(whole)),
        Case("as the state dict", archive(b"\x80\x02" + entries((text("state_dict"), evil)) + STOP)),
        Case("as a key", archive(b"\x80\x02" + entries((evil, text("x"))) + STOP)),
        Case("before the state dict", archive(b"\x80\x02" + evil + b"0" + fine[2:])),
        Case("before it breaks off", archive(b"\x80\x02" + evil)),
        Case("then garbage", archive(b"\x80\x02" + evil + b"\xff\xff")),
        Case("as a persistent identifier", archive(model(evil + b"Q"))),
        Case("in a text identifier", archive(model(b"Pos.system\n"))),
        Case("as the storage's class", archive(model(call(
            name("torch._utils", "_rebuild_tensor_v2"),
            items(text("storage"), name("os", "system"), text("0"), text("cpu"), number(100)) + b"Q", number(0),
            items(number(10), number(10)), items(number(10), number(1)), b"\x89", b"}")))),
        Case("as the storage's key", archive(model(call(
            name("torch._utils", "_rebuild_tensor_v2"),
            items(text("storage"), name("torch", "FloatStorage"), evil, text("cpu"), number(100)) + b"Q", number(0),
            items(number(10), number(10)), items(number(10), number(1)), b"\x89", b"}")))),
        Case("by _rebuild_from_type_v2", archive(model(call(
            name("torch._tensor", "_rebuild_from_type_v2"), name("os", "system"), name("torch", "Tensor"),
            items(text(COMMAND)), b"}")))),
        Case("by _rebuild_wrapper_subclass", archive(model(call(
            name("torch._utils", "_rebuild_wrapper_subclass"), name("os", "system"), text(COMMAND))))),
        Case("by _load_from_bytes", archive(model(call(
            name("torch.storage", "_load_from_bytes"), b"C" + bytes([len(whole)]) + whole)))),
        Case("by an extension's number", archive(b"\x80\x02\x82\x01" + items(text(COMMAND)) + b"R" + STOP)),
        Case("in a buffer out of band", archive(b"\x80\x05\x97\x98" + STOP)),
        Case("by a dotted name", archive(b"\x80\x04" + call(stack_name("torch.serialization", "os.system"), text(COMMAND)) + STOP)),
        Case("by look-alike letters", archive(b"\x80\x04" + call(stack_name("\u043es", "system"), text(COMMAND)) + STOP)),
        Case("by a name with a line's end", archive(b"\x80\x04" + call(stack_name("os\n::error::", "system\x1b[31m"), text(COMMAND)) + STOP)),
        Case("in protocol 0", b"cos\nsystem\n(S'" + COMMAND.encode() + b"'\ntR."),
        Case("in protocol 0, as .bin", b"(S'x'\ncos\nsystem\n(S'" + COMMAND.encode() + b"'\ntR.", "bin"),
        Case("as a plain pickle", pickle.dumps(state.keys().__class__.__name__) + whole, "pkl"),
        Case("in the legacy protocol number", magic + whole + legacy[len(magic):]),
        Case("in a record of another name", zipped([*records_of(good), ("a/data.pickle", whole)]), harmless=True),
        Case("in a second record of the name", zipped([("a/data.pkl", fine), ("a/data.pkl", whole), *rest])),
        Case("in a first record of the name", zipped([("a/data.pkl", whole), ("a/data.pkl", fine), *rest])),
        Case("in another folder", zipped([*records_of(good), ("b/data.pkl", whole)])),
        Case("at the top", zipped([("data.pkl", whole), *records_of(good)])),
        Case("by another case of letters", zipped([*records_of(good), ("a/DATA.PKL", whole)]), harmless=True),
        Case("in front of the archive", whole + good),
        Case("behind the archive", good + whole),
        Case("in the archive's comment", good[:-2] + struct.pack("<H", len(whole)) + whole),
        Case("with a bit that says encrypted", good.replace(b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0")),
        Case("in a pickle that is a text", archive(model(tensor((10, 10), (10, 1)), (text("x"), b"C" + bytes([len(whole)]) + whole))), harmless=True),
    ]  # fmt: skip
    for place in range(3):  # the pickles before and after the legacy format's tree
        parts = [b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\x02M\xe9\x03.", legacy[:0], whole]
        parts[1 + min(place, 1)] = whole
        bad.append(Case(f"in the legacy pickle {place}", b"".join(parts)))
    return bad
