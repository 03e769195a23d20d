"""How many slots, threads and workers suit a model on this machine: found by a quick probe, not asked for."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from robaudit.attacks.objectives import Model
from robaudit.cores import usable_cores
from robaudit.devices import free_memory, is_accelerator, out_of_memory, synchronize
from robaudit.gradients import input_gradient

#: The sizes tried, and how long the whole probe may take in seconds.
_SIZES = (8, 32, 128, 512)
_ACCELERATOR_SIZES = (16, 64, 256, 1024, 4096)
_PATIENCE = 1.5
#: A larger batch must be this much faster to be worth its memory.
_GAIN = 1.08
#: More workers than this would wait for the interpreter's lock.
_MOST_WORKERS = 8
#: All threads must be this much faster than one: the attacks' own small operations gain nothing by them, and a
#: neighbour on the same cores makes threads that wait for each other many times slower.
_THREAD_GAIN = 1.3
#: Times that each number of threads is tried at least and at most, and seconds after which it is enough.
_TURNS, _MOST_TURNS, _LOOK = 3, 10, 0.25
#: Seconds that an attack works on a step beside the model's passes, whatever the number of examples.
_OWN_WORK = 0.003
#: Seconds: where a step's passes take less, workers mostly wait for the interpreter's lock.
_SHORT_STEP = 0.005
#: Threads inside a step wait for each other at every layer: for all steps to be made so, one must be this many times
#: longer than one that is worth a worker.
_SPLIT = 4


@dataclass(frozen=True)
class Tuning:
    """`slots` examples at once for each of `workers`, on this many `threads` each (of the CPU; 0: as they are).

    A worker is worth having from `least` examples on: shorter steps are mostly the interpreter's work, which
    workers do not share.
    """

    slots: int
    threads: int
    workers: int = 1
    least: int = 1


def tune(model: Model, example: Tensor, *, side_by_side: bool = False) -> Tuning:
    """The fastest setting for a forward and backward pass.

    On the CPU one worker a core beats one worker on all of them: inside a small network the threads wait for each
    other at every layer, and nothing of the attacks' own work is shared.

    Args:
        model: from (n, C, H, W) in [0, 1] to logits.
        example: (1, C, H, W), on the model's device.
        side_by_side: whether calls of the model in several threads leave each other alone.

    """
    if is_accelerator(example.device):
        _best_size(
            model, example, (1,), math.inf
        )  # the first pass starts the device's libraries, which takes seconds
        return Tuning(_best_size(model, example, _ACCELERATOR_SIZES, time.monotonic() + _PATIENCE)[0], 0)
    before, cores = torch.get_num_threads(), most_threads()
    torch.set_num_threads(cores)
    workers = min(cores, _MOST_WORKERS) if side_by_side else 1
    try:
        if workers > 1:
            torch.set_num_threads(cores // workers)
            slots, speed = _best_size(model, example, _SIZES, time.monotonic() + _PATIENCE)
            least = math.ceil(_SHORT_STEP * speed)
            if least > slots:
                return Tuning(slots, 1)
            return Tuning(slots, cores // workers, workers, least)
        many, rate_of_many = _best_size(model, example, _SIZES, time.monotonic() + _PATIENCE / 2)
        if cores == 1:
            return Tuning(many, 1)
        torch.set_num_threads(1)
        one, rate_of_one = _best_size(model, example, _SIZES, time.monotonic() + _PATIENCE / 2)
    finally:
        torch.set_num_threads(before)
    worth_it = one / rate_of_one > _SPLIT * _SHORT_STEP and rate_of_many > _THREAD_GAIN * rate_of_one
    return Tuning(many, cores) if worth_it else Tuning(one, 1)


def most_threads() -> int:
    """Threads that are worth trying: those that torch was given, where this process may use that many processors."""
    return max(min(torch.get_num_threads(), usable_cores()), 1)


def fastest_threads(work: Callable[[], object], most: int) -> int:
    """How many threads `work` is done fastest on, by the clock: one, or twice as many as long as that pays.

    Beside a busy neighbour threads that wait for each other at every layer are many times slower than one alone, at
    some moments and not at others; so of several times the slowest but one counts.

    Args:
        work: done again and again; the first time is not counted.
        most: threads at most.

    """
    before, best = torch.get_num_threads(), 1
    try:
        pace = _pace(work, 1)
        while best < most:
            more = min(2 * best, most)
            faster = _pace(work, more)
            if faster * _THREAD_GAIN > pace:
                break
            best, pace = more, faster
    finally:
        torch.set_num_threads(before)
    return best


class Paces:
    """Seconds that an example's steps took lately, by the number of threads."""

    def __init__(self) -> None:
        self._took: dict[int, deque[float]] = {}

    def note(self, threads: int, seconds: float) -> None:
        """A step took this long on this many threads."""
        self._took.setdefault(threads, deque(maxlen=_TURNS)).append(seconds)

    def faster(self, many: int, few: int) -> int:
        """Which of two numbers of threads to take: `many` at first, then each a few times, then the faster."""
        known = {count: len(self._took.get(count, ())) == _TURNS for count in (many, few)}
        if not all(known.values()):
            return few if known[many] else many
        return min((many, few), key=lambda count: median(self._took[count]))


def _pace(work: Callable[[], object], threads: int) -> float:
    """Seconds that `work` takes on this many threads."""
    torch.set_num_threads(threads)
    work()
    took: list[float] = []
    while len(took) < _TURNS or (sum(took) < _LOOK and len(took) < _MOST_TURNS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return sorted(took)[-2]


def _best_size(model: Model, example: Tensor, sizes: tuple[int, ...], deadline: float) -> tuple[int, float]:
    """The smallest size that no larger one beats by much, the attacks' own work counted; its examples a second."""
    best, best_speed, best_rate = 1, 0.0, 0.0
    for size in sizes:
        try:
            speed = max(rate(model, example.expand(size, -1, -1, -1).contiguous()) for _ in range(2))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            free_memory()
            break
        with_own_work = size / (size / speed + _OWN_WORK)
        if with_own_work > best_rate * _GAIN:
            best, best_speed, best_rate = size, speed, with_own_work
        if time.monotonic() + 2 * _growth(sizes, size) / speed > deadline:
            break
    return best, best_speed


def _growth(sizes: tuple[int, ...], size: int) -> int:
    """The size after `size`, which the probe would try next; the same at the end."""
    return min((larger for larger in sizes if larger > size), default=size)


def rate(model: Model, x: Tensor) -> float:
    """Examples a second of one forward and backward pass."""
    synchronize(x.device)
    started = time.perf_counter()
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        input_gradient(model(x).float().sum(), x)
    synchronize(x.device)
    return len(x) / max(time.perf_counter() - started, 1e-9)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """`count` threads on the CPU, and as many as before afterwards; 0 changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
