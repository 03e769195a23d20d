"""Several processes under `torchrun`: each works on its share of the examples, and nothing else is shared.

Rank 0 keeps the evidence file. The others write files of their own beside it (`PATH.rank1` ...), which are handed
over at the end of every stretch and, after a crash, at the start of the next run, whatever its number of ranks.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import torch
import torch.distributed as dist

from robaudit.evidence import EvidenceFile, Header

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The number of this process among `world` of them; (0, 1) when it is alone."""

    rank: int = 0
    world: int = 1

    def share(self, places: torch.Tensor) -> torch.Tensor:
        """The places that this rank works on."""
        return places[self.rank :: self.world]

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

    def hand_over(self, file: EvidenceFile) -> None:
        """Move what the other ranks have finished into rank 0's file."""
        if self.world == 1:
            return
        mine = ([], []) if self.rank == 0 else file.rows()
        boxes: list[object] | None = [None] * self.world if self.rank == 0 else None
        dist.gather_object(mine, boxes, dst=0)
        for box in boxes or []:
            file.add_outcomes(*cast("tuple[list, list]", box))  # type: ignore[type-arg]
        dist.barrier()  # nothing is cleared before it is on rank 0's disk
        if self.rank:
            file.clear()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks that `torchrun` started this process among; alone without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "MASTER_ADDR" not in os.environ:
        yield Ranks()
        return
    ours = not dist.is_initialized()
    if ours:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        if ours:
            dist.destroy_process_group()


def open_part(path: Path, header: Header, ranks: Ranks) -> EvidenceFile:
    """The file of this rank; rank 0's takes in what an earlier run's ranks left beside it."""
    if ranks.rank:
        return EvidenceFile.create(path.with_name(f"{path.name}.rank{ranks.rank}"), header)
    file = EvidenceFile.create(path, header)
    for left in sorted(path.parent.glob(f"{glob.escape(path.name)}.rank*")):
        number = left.suffix.removeprefix(".rank")
        if not number.isdigit() or int(number) < ranks.world:
            continue  # SQLite's journal, or a file that its own rank opens and hands over
        with EvidenceFile.create(left, header) as part:
            file.add_outcomes(*part.rows())
        left.unlink()
    return file
