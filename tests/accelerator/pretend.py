"""A pretend accelerator: a device of torch's whose tensors hold a CPU tensor each, as strict as a real one.

* An operation that mixes its tensors with the CPU's raises, unless these hold a single number, as on CUDA.
* It counts how often somebody waits for it: a number read, a copy to the CPU, an operation whose result's shape depends
  on values.
* It has a random generator of its own, may lack float64 (as MPS does), may have little memory, may fail in the middle.
* It records graphs: what is asked for meanwhile is done again on the same memory, and waiting for it is refused.

It says that it is not a CUDA device, as any accelerator but CUDA's does. torch's interface for this is experimental
(`torch.utils.backend_registration`); whatever it lacks here is a lack of these tests, not of robaudit.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _DummyPrivateUse1Hook,
    _setup_privateuseone_for_python_backend,
)

NAME = "pretend"


@dataclass
class Machine:
    """The device's state, and how it is to behave.

    Attributes:
        on: whether it is there at all.
        float64: whether it can hold float64.
        memory: bytes of the largest tensor that fits.
        fails_after: operations until it fails for good.
        operations, waits: counted so far.

    """

    on: bool = False
    float64: bool = True
    memory: float = float("inf")
    fails_after: float = float("inf")
    operations: int = 0
    waits: int = 0
    random_state: torch.Tensor = field(default_factory=torch.get_rng_state)
    recording: PretendGraph | None = None


MACHINE = Machine()


class _Module(_DummyBackendModule):
    """`torch.pretend`."""

    def is_available(self) -> bool:
        return MACHINE.on

    def is_initialized(self) -> bool:
        return MACHINE.on

    def device_count(self) -> int:
        return int(MACHINE.on)

    def get_device_name(self, device: Any = None) -> str:
        return "Pretend 1"

    def synchronize(self, device: Any = None) -> None:
        MACHINE.waits += 1

    def empty_cache(self) -> None:
        pass

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return MACHINE.random_state.clone()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        MACHINE.random_state = state.clone()

    def manual_seed_all(self, seed: int) -> None:
        MACHINE.random_state = torch.Generator().manual_seed(seed).get_state()

    manual_seed = manual_seed_all

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class _Hook(_DummyPrivateUse1Hook):
    def is_available(self) -> bool:
        return MACHINE.on

    def has_primary_context(self, dev_id: int) -> bool:
        return MACHINE.on


_MODULE = _Module()
_setup_privateuseone_for_python_backend(NAME, backend_module=_MODULE, hook=_Hook())
DEVICE = torch.device(NAME, 0)


class Pretend(torch.Tensor):
    """A tensor of the device; `held` has the numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Pretend:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=DEVICE,
            requires_grad=False,
        )
        made.held = held
        return made

    def __init__(self, held: torch.Tensor) -> None:
        pass

    def __repr__(self) -> str:
        return f"Pretend({self.held!r})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.tolist:
            return args[0].cpu().tolist()
        if func is torch.Tensor.numpy:
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() first")
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _do(func, args, kwargs or {})


_ATEN = torch.ops.aten
_INDEXING = ("aten::index.", "aten::index_put", "aten::_index_put", "aten::_unsafe_index")
_COPYING = ("aten::_to_copy", "aten::copy_", "aten::copy")
#: An accelerator must be waited for to learn the shape or the number that these give.
_WAITING = (
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::_unique",
    "aten::equal",
    "aten::masked_select",
)


def _do(func: Any, args: Any, kwargs: Any) -> Any:
    name = func.name()
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, Pretend)]
    device = kwargs.get("device")
    made_here = device is not None and torch.device(device).type == NAME
    if not ours and not made_here:
        return func(*args, **kwargs)
    if not MACHINE.on:
        raise RuntimeError(f"{name}: a tensor of {DEVICE} after the device was gone")
    _work_or_fail()
    copied = name.startswith(_COPYING)
    if not copied:
        _refuse_mixing(name, args, tensors)
    to_cpu = copied and ours and not made_here and not (isinstance(args[0], Pretend) and device is None)
    from_cpu = copied and len(ours) < len(tensors)
    masks = name.startswith(_INDEXING) and any(
        t.dtype == torch.bool for t in tree_leaves(args[1]) if t is not None
    )
    if to_cpu or masks or name.startswith(_WAITING):
        MACHINE.waits += 1
    if MACHINE.recording and (to_cpu or from_cpu or masks or name.startswith(_WAITING)):
        raise RuntimeError(f"{name}: operation not permitted while a graph is recorded")
    plain_args, plain_kwargs = tree_map(lambda t: t.held if isinstance(t, Pretend) else t, (args, kwargs))
    if made_here:
        plain_kwargs["device"] = torch.device("cpu")
    plain_kwargs.pop("pin_memory", None)
    out = _with_own_generator(func, plain_args, plain_kwargs)
    if name.startswith("aten::copy_"):
        out = plain_args[0]
    if MACHINE.recording:
        MACHINE.recording.add(func, plain_args, plain_kwargs, out)
    if name.startswith("aten::copy_"):
        return args[0]
    if device is not None and not made_here:
        return out
    known = {id(tensor.held): tensor for tensor in ours}
    return tree_map(lambda t: _ours(t, known) if isinstance(t, torch.Tensor) else t, out)


def _ours(tensor: torch.Tensor, known: dict[int, Pretend]) -> Pretend:
    if id(tensor) in known:
        return known[id(tensor)]
    size = tensor.numel() * tensor.element_size()
    if size > MACHINE.memory:
        raise torch.OutOfMemoryError(f"{NAME} out of memory. Tried to allocate {size} bytes")
    if tensor.dtype == torch.float64 and not MACHINE.float64:
        raise TypeError(f"cannot convert a {NAME} tensor to float64: the device has none")
    return Pretend(tensor)


def _work_or_fail() -> None:
    MACHINE.operations += 1
    # What is raised in a thread of torch's own, which runs a backward pass, may end the process.
    ours = not isinstance(threading.current_thread(), threading._DummyThread)
    if ours and MACHINE.operations > MACHINE.fails_after:
        raise torch.AcceleratorError(f"{NAME} error: unspecified launch failure\nsearch for it in the manual")


def _refuse_mixing(name: str, args: Any, tensors: list[torch.Tensor]) -> None:
    real = [tensor for tensor in tensors if not isinstance(tensor, Pretend) and tensor.dim() > 0]
    if name.startswith(_INDEXING) and isinstance(args[0], Pretend):  # indices may be the CPU's
        values = [value for value in tree_leaves(args[2:]) if isinstance(value, torch.Tensor)]
        real = [tensor for tensor in values if not isinstance(tensor, Pretend) and tensor.dim() > 0]
    if real:
        shapes = [tuple(tensor.shape) for tensor in tensors]
        raise RuntimeError(
            f"{name}: expected all tensors to be on the same device, found {DEVICE} and cpu; shapes {shapes}"
        )


def _with_own_generator(func: Any, args: Any, kwargs: Any) -> Any:
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return func(*args, **kwargs)
    before = torch.get_rng_state()
    torch.set_rng_state(MACHINE.random_state)
    try:
        return func(*args, **kwargs)
    finally:
        MACHINE.random_state = torch.get_rng_state()
        torch.set_rng_state(before)


class _MadeThere(TorchDispatchMode):
    """Sees what is made on the device from nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _do(func, args, kwargs or {})


class _MadeFromData(TorchFunctionMode):
    """`torch.tensor` and its kin work below the dispatcher: made on the CPU, then moved."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        makers = (torch.tensor, torch.as_tensor, torch.asarray)
        here = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == NAME
        if func in makers and here and not isinstance(args[0], Pretend):
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class PretendGraph:
    """Operations that were asked for while it recorded, to be done again on the same memory."""

    def __init__(self, pool: Any = None) -> None:
        self._operations: list[tuple[Any, Any, Any, Any]] = []

    @staticmethod
    def new_pool() -> None:
        return None

    @staticmethod
    @contextmanager
    def warming_up():
        yield

    @contextmanager
    def recording(self):
        MACHINE.recording = self
        try:
            yield
        finally:
            MACHINE.recording = None

    def add(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        self._operations.append((func, args, kwargs, out))

    def replay(self) -> None:
        """Each result into the memory of the first one; what is a view of an input, or the input, is so again."""
        _work_or_fail()
        with torch.no_grad():
            for func, args, kwargs, out in self._operations:
                again = func(*args, **kwargs)
                pairs = zip(tree_leaves(out), tree_leaves(again), strict=True)
                for old, new in pairs:
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


@contextmanager
def pretending(**how: Any):
    """The device is there, and behaves as `how` says (fields of `Machine`); gone and as before afterwards."""
    before = dict(vars(MACHINE))
    vars(MACHINE).update(on=True, operations=0, waits=0, **how)
    # torch cannot pass these two on to a backend that is written in Python.
    asked = {name: getattr(torch.accelerator, name) for name in ("synchronize", "empty_cache")}
    torch.accelerator.synchronize, torch.accelerator.empty_cache = _MODULE.synchronize, _MODULE.empty_cache
    try:
        with _MadeThere(), _MadeFromData():
            yield MACHINE
    finally:
        for name, function in asked.items():
            setattr(torch.accelerator, name, function)
        vars(MACHINE).clear()
        vars(MACHINE).update(before)
