"""What a child process gives up before it touches a foreign file: whatever of this the kernel has."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import resource
import signal
import struct
import sys
import tempfile

_NO_NEW_PRIVILEGES, _DEATH_SIGNAL = 38, 1
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
#: Landlock's rights: execute, write, remove, make, refer (ABI 2), truncate (3), device commands (5); reading stays.
_WRITING = {1: 0x1FF3, 2: 0x3FF3, 3: 0x7FF3, 5: 0xFFF3}
#: Binding and connecting (ABI 4), abstract sockets and signals to others (6).
_NETWORK, _SCOPES = 3, 3
#: Seconds of processor time after the signal that it is up.
_GRACE = 5


def confine(memory: int, seconds: int, kept: int) -> None:
    """Give up files, network, memory and time beyond the limits; for a child that ends by itself.

    Args:
        memory: bytes beyond what is mapped now.
        seconds: of processor time.
        kept: the one open file that stays, beside empty standard ones.

    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    faulthandler.disable()
    gc.disable()  # what this process inherited may belong to a device, and is nothing to take apart here
    _close_files(kept)
    pages = int(open("/proc/self/statm", "rb").read().split()[0])  # noqa: PTH123, SIM115  closed by its end
    limits = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        most = limit + (_GRACE if kind == resource.RLIMIT_CPU else 0)  # the signal for time comes first
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (min(limit, most), most))
    with contextlib.suppress(OSError):
        _landlock(libc)
    tempfile.tempdir = (
        tempfile.tempdir or "/tmp"
    )  # asked for while libraries are imported, and found by writing there
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = (
        tempfile.tempdir
    )  # made when torchvision is imported, where there is none
    torch = sys.modules.get("torch")
    if torch is not None:  # threads do not survive a fork; one is enough
        torch.set_num_threads(1)


def _close_files(kept: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115  whatever they led to is closed
    last = min(os.sysconf("SC_OPEN_MAX"), 1 << 20)
    os.closerange(3, kept)
    os.closerange(kept + 1, last)


def landlock_version() -> int:
    """The version of Landlock that the kernel has; 0 where it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(
        int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)), 0
    )


def _landlock(libc: ctypes.CDLL) -> None:
    """No writing, removing, making or executing of any file, and no connections, from here on.

    Raises:
        OSError: the kernel refuses.

    """
    version = landlock_version()
    if not version:
        return
    writing = _WRITING[max(known for known in _WRITING if known <= version)]
    fields = [writing, *([_NETWORK] if version >= 4 else []), *([_SCOPES] if version >= 6 else [])]
    rules = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = libc.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock")
    try:
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if libc.syscall(_RESTRICT_SELF, ruleset, 0):
            raise OSError(ctypes.get_errno(), "landlock")
    finally:
        os.close(ruleset)
