"""The evidence of an audit by several ranks: rank 0 keeps the file, the others write files of their own beside it.

Those (`PATH.rank1` ...) are handed over at the end of every stretch and, after a crash, at the start of the next run,
whatever its number of ranks.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import cast

import torch.distributed as dist

from robaudit.errors import RobauditError
from robaudit.evidence import Evidence, EvidenceFile, Header, within_wanted
from robaudit.inputs import Images
from robaudit.ranks import Ranks
from robaudit.verdict import Claim, is_complete, judge


def hand_over(file: EvidenceFile, ranks: Ranks) -> None:
    """Move what the other ranks have finished into rank 0's file."""
    if ranks.world == 1:
        return
    mine = ([], []) if ranks.first else file.rows()
    boxes: list[object] | None = [None] * ranks.world if ranks.first else None
    dist.gather_object(mine, boxes, dst=0)
    for box in boxes or []:
        file.add_outcomes(*cast("tuple[list, list]", box))  # type: ignore[type-arg]
    dist.barrier()  # nothing is cleared before it is on rank 0's disk
    if not ranks.first:
        file.clear()


def finished_unwritable(path: Path, header: Header, claim: Claim | None) -> Evidence | None:
    """The finished evidence of this audit in a place that cannot be written to; None where it is to be worked on.

    Raises:
        RobauditError: it cannot be written to and is of another audit or damaged.

    """
    if not path.is_file() or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return None
    with EvidenceFile.open(path) as file:
        before = file.header()
        if file.other(header) or within_wanted(before, header.plan.within) != before.plan.within:
            return None
        found = file.read()
    return found if found.header.finished and is_complete(found, judge(found, claim)) else None


def _part(path: Path, ranks: Ranks) -> Path:
    return path.with_name(f"{path.name}.rank{ranks.rank}")


def discard_part(path: Path, ranks: Ranks) -> None:
    """Remove this rank's file, all of which rank 0 has."""
    _part(path, ranks).unlink(missing_ok=True)


def open_part(path: Path, header: Header, ranks: Ranks) -> EvidenceFile:
    """The file of this rank; rank 0's takes in what an earlier run's ranks left beside it."""
    if ranks.rank:
        return EvidenceFile.create(_part(path, ranks), header)
    file = EvidenceFile.create(path, header)
    for left in sorted(path.parent.glob(f"{glob.escape(path.name)}.rank*")):
        number = left.suffix.removeprefix(".rank")
        if not (number.isascii() and number.isdigit()) or int(number) < ranks.world:
            continue  # SQLite's journal, or a file that its own rank opens and hands over
        with EvidenceFile.create(left, header) as part:
            file.add_outcomes(*part.rows())
        left.unlink()
    return file


def check_examples(file: EvidenceFile, images: Images) -> None:
    """Nothing, if the examples that a resumed audit recorded are these: the file may be a stranger's.

    Raises:
        RobauditError: they are others, or have other labels.

    """
    ids, labels = images.ids.tolist(), images.labels.tolist()
    for place, example, label in file.columns("examples", "position", "id", "label"):
        if not 0 <= place < len(ids) or (ids[place], labels[place]) != (example, label):
            raise RobauditError(f"{file.path}: holds other examples than these; choose another --evidence")
