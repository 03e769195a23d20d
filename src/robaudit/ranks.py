"""Several processes under `torchrun`, one of which is this one; each is called a rank and works on its share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from robaudit.torchrun import among_several

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The number of this process among `world` of them; (0, 1) when it is alone."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """The part of `rows` (n,) that this rank works on."""
        return rows[self.rank :: self.world]

    def agree(self, value: T) -> T:
        """Rank 0's `value`, on every rank."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Every rank's `value`, in the order of the ranks, on every rank."""
        boxes: list[T | None] = [value]
        if self.world > 1:
            boxes = [None] * self.world
            dist.all_gather_object(boxes, value)
        return cast("list[T]", boxes)

    def add_up(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks that `torchrun` started this process among; alone without it."""
    if not among_several():
        yield Ranks()
        return
    ours = not dist.is_initialized()
    if ours:
        if torch.cuda.is_available():  # NCCL is CUDA's; each rank works on a GPU of its own
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        if ours:
            dist.destroy_process_group()
