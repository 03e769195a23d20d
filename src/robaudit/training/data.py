"""The training examples, all of them on the device, and batches of them drawn by keys.

Which examples make up a batch, how each is cropped and whether it is mirrored depend on the seed, the epoch and the
example alone: a resumed run, and any number of processes, see the same images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.attacks.randomness import Draws
from robaudit.errors import RobauditError
from robaudit.inputs import Images
from robaudit.training.settings import Augment

#: Appendix B: crops of the image padded by 4 pixels of 0 on each side.
PADDING = 4


@dataclass(frozen=True)
class Batch:
    """`x` (n, C, H, W) float32 in [0, 1], labels `y` (n,), `ids` (n,)."""

    x: Tensor
    y: Tensor
    ids: Tensor


def hold_out(images: Images, count: int, seed: int) -> tuple[Images, Images]:
    """The examples to train on, and `count` class-balanced ones to validate with, none in both.

    Raises:
        RobauditError: nothing would be left.

    """
    if count >= len(images):
        raise RobauditError(
            f"validation {count}: only {len(images)} examples in all; pass --validation {max(1, len(images) // 5)}"
        )
    held = images.subset(count, seed)
    rest = (~torch.isin(images.ids, held.ids)).nonzero().squeeze(1)
    if len(images.labels[rest].unique()) < 2:
        raise RobauditError(
            f"{images.name}: all {len(rest)} examples to train on are of class {int(images.labels[rest][0])}; "
            "a classifier needs examples of two classes at least"
        )
    train = replace(images, pixels=images.pixels[rest], labels=images.labels[rest], ids=images.ids[rest])
    return train, held


class TrainData:
    """Images kept on `device` as they are stored, a byte a pixel value."""

    def __init__(self, images: Images, device: torch.device, augment: Augment, seed: int) -> None:
        self._pixels, self._labels = images.pixels.to(device), images.labels.to(device)
        self._ids = images.ids.to(device)
        self._augment, self._seed = augment, seed

    def __len__(self) -> int:
        return len(self._labels)

    def order(self, epoch: int) -> Tensor:
        """(N,) a permutation of the rows, fixed by the seed and the epoch."""
        return Draws(self._seed, "order").uniform(self._ids, epoch, 1).squeeze(1).argsort(stable=True)

    def batch(self, rows: Tensor, epoch: int) -> Batch:
        """The examples at `rows`, augmented as this epoch wants them."""
        x, ids = self._pixels[rows], self._ids[rows]
        if self._augment != "none":
            draws = Draws(self._seed, "augment").uniform(ids, epoch, 3)
            x = crop_and_flip(x, draws, "crop" in self._augment, "flip" in self._augment)
        x = x.float().div_(255) if x.dtype == torch.uint8 else x.float()
        return Batch(x.contiguous(), self._labels[rows], ids)


def crop_and_flip(x: Tensor, draws: Tensor, crop: bool, flip: bool) -> Tensor:
    """Each image shifted and mirrored as its draws say.

    Args:
        x: (n, C, H, W) of any type.
        draws: (n, 3) in [0, 1): for the shift down, the shift across, the mirror.
        crop: whether to shift by -4 to 4 pixels, with 0 coming in.
        flip: whether to mirror half of them.

    """
    n, _, h, w = x.shape
    top = left = torch.full((n,), PADDING, dtype=torch.int64, device=x.device)
    if crop:
        top, left = ((draws[:, k] * (2 * PADDING + 1)).long() for k in (0, 1))
    columns = torch.arange(w, device=x.device).expand(n, w)
    if flip:
        columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
    columns = columns + left[:, None]
    rows = torch.arange(h, device=x.device) + top[:, None]
    padded = F.pad(x, (PADDING,) * 4)
    first = torch.arange(n, device=x.device)[:, None, None]
    return padded[first, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
