"""Where tensors are computed: the CPU, or an accelerator of whichever kind torch knows (CUDA, XPU, MPS, others)."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from robaudit.errors import RobauditError

R = TypeVar("R")

#: How allocators that do not raise `torch.OutOfMemoryError` say that memory ran out.
_NO_MEMORY = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")


#: The message where not even one example fits.
NO_ROOM = "model: memory does not hold one example; use a machine with more, or --device cpu"


def pick_device(name: str) -> str:
    """The device of that name; for `auto` the accelerator that torch finds here, else the CPU.

    Raises:
        RobauditError: no such device here.

    """
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found.type if found else "cpu"
    try:
        torch.empty(1, device=torch.device(name)).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RobauditError(
            f"device '{name}' cannot be used ({first_line(error)}); try --device cpu"
        ) from error
    return name


def is_accelerator(device: torch.device) -> bool:
    """Whether it is none of the CPU's, so that work on it is asked for now and done later."""
    return device.type not in ("cpu", "meta")


def describe(device: torch.device) -> str:
    """Its kind, and in brackets the name that its maker gave it."""
    name = platform.processor() or platform.machine()
    if is_accelerator(device):
        tell = getattr(torch.get_device_module(device.type), "get_device_name", None)
        name = tell(device) if tell else ""
    return f"{device.type} ({name})" if name else device.type


def synchronize(device: torch.device) -> None:
    """Wait until all that was asked of an accelerator is done."""
    if is_accelerator(device):
        torch.accelerator.synchronize(device)


def has_bf16(device: torch.device) -> bool:
    """Whether it multiplies in bfloat16 with instructions of its own: a CPU, or a GPU of CUDA's."""
    if device.type == "cpu":
        tells = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch's own, and may go
        return any(getattr(torch.cpu, tell, bool)() for tell in tells)
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def in_double(tensor: Tensor) -> Tensor:
    """The tensor in float64, where it is if its device has float64 (MPS has not), else on the CPU."""
    try:
        return tensor.double()
    except TypeError:
        return tensor.cpu().double()


def out_of_memory(error: BaseException) -> bool:
    """Whether this is how torch says that memory ran out, on an accelerator or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)


def driver_failed(error: BaseException) -> bool:
    """Whether an accelerator itself failed; nothing more can be computed on it by this process."""
    return isinstance(error, torch.AcceleratorError) and not out_of_memory(error)


@contextmanager
def failures_explained(device: torch.device, advice: str) -> Iterator[None]:
    """A failure of the accelerator itself as one clear line, which ends with `advice`.

    Raises:
        RobauditError: the accelerator failed.

    """
    try:
        yield
    except RuntimeError as error:
        if not driver_failed(error):
            raise
        raise RobauditError(f"device '{device}' failed ({first_line(error)}); {advice}") from error


def free_memory() -> None:
    """Give back what the accelerator's allocator keeps for later."""
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


def in_parts(function: Callable[[Tensor], R], rows: Tensor, size: int) -> list[R]:
    """`function` of each part of `rows`, `size` of them at most; fewer where memory does not hold that many.

    Args:
        function: of (k,) rows, k >= 1; called again with fewer of the same rows where it ran out of memory.
        rows: (n,).
        size: at least 1.

    Raises:
        RobauditError: memory does not hold a single one.

    """
    done: list[R] = []
    first = 0
    while first < len(rows):
        part = rows[first : first + size]
        try:
            done.append(function(part))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if len(part) == 1:
                raise RobauditError(NO_ROOM) from error
            size = len(part) // 2
        else:
            first += len(part)
            continue
        free_memory()
    return done


def random_states() -> list[tuple[str, Any]]:
    """The states of the random generators of the CPU and of the accelerator in use, for `restore_random_states`."""
    states: list[tuple[str, Any]] = [("cpu", torch.get_rng_state())]
    kind = accelerator_in_use()
    if kind:
        module = torch.get_device_module(kind)
        states.append((kind, [module.get_rng_state(k) for k in range(module.device_count())]))
    return states


def restore_random_states(states: list[tuple[str, Any]]) -> None:
    """What `random_states` gave."""
    for kind, state in states:
        if kind == "cpu":
            torch.set_rng_state(state)
            continue
        module = torch.get_device_module(kind)
        for k, each in enumerate(state):
            module.set_rng_state(each, k)


def seed_generators(seed: int) -> None:
    """As `torch.manual_seed`, of what is in use: that one also leaves word for every accelerator that is not.

    It does so at every call, with the text of a traceback each time, which took a third of a small model's pass.
    """
    torch.default_generator.manual_seed(seed)
    kind = accelerator_in_use()
    if kind:
        torch.get_device_module(kind).manual_seed_all(seed)


def accelerator_in_use() -> str:
    """The kind of the accelerator that this process has used; empty where it has used none.

    To ask an accelerator for anything starts its driver, which takes seconds and memory.
    """
    device = torch.accelerator.current_accelerator(check_available=False)
    if device is None:
        return ""
    begun = getattr(torch.get_device_module(device.type), "is_initialized", torch.accelerator.is_available)
    return device.type if begun() else ""


def first_line(error: BaseException) -> str:
    """What an error of torch says, without its advice and stack."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
