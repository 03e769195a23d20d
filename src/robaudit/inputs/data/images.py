"""Labelled images in memory, as they were stored, and the subset that a seed fixes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch

from robaudit.errors import RobauditError

Rows = slice | torch.Tensor
#: A split whose largest class is at most this many times its smallest counts as balanced.
BALANCED_RATIO = 1.1
#: Floats beyond [0, 1] by no more than this were rounded there: a hundredth of a step of 8 bits.
ROUNDING = 4e-5


@dataclass(frozen=True)
class Images:
    """One split of a data set, or a subset of it.

    Attributes:
        pixels: (N, C, H, W); uint8 stands for value / 255, float32 is in [0, 1].
        labels: (N,) int64 in [0, classes).
        ids: (N,) int64, where each example stands in the whole split, whatever the subset.
        name: the data set's name, or the path it was read from.
        split: such as `test` or `train`.
        total: examples in the whole split.
        classes: number of classes, at least 2.
        class_names: one a class, or empty where nobody names them.
        sha256: of the whole split's pixels and labels.
        notes: sentences for the report, of what was done to the images unasked.

    """

    pixels: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor
    name: str
    split: str
    total: int
    classes: int
    class_names: tuple[str, ...]
    sha256: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.pixels.shape[1:]
        return int(channels), int(height), int(width)

    def float(self, rows: Rows = slice(None)) -> torch.Tensor:
        """The images of `rows` as (n, C, H, W) float32 in [0, 1]."""
        chosen = self.pixels[rows]
        return chosen.float().div_(255) if chosen.dtype == torch.uint8 else chosen.float()

    def subset(self, limit: int | None, seed: int) -> Images:
        """At most `limit` examples of all classes, in a random order; both fixed by the seed.

        Where the split has as many examples of every class (to within a tenth), every class gives the same
        number (the remainder goes to classes drawn at random). Otherwise each gives its share of the split,
        so that accuracy on the subset is an unbiased estimate of accuracy on the split. Then all are
        shuffled together, so that any prefix is a simple random sample of the chosen set. `limit=None`
        shuffles everything. The order that the examples have here does not matter.

        Raises:
            RobauditError: `limit` is below 1.

        """
        if limit is not None and limit < 1:
            raise RobauditError(f"limit {limit} must be at least 1 example")
        draw = np.random.Generator(np.random.PCG64(seed))
        order = torch.argsort(self.ids)
        labels, count = self.labels[order].numpy(), len(self) if limit is None else limit
        sizes = np.unique(labels, return_counts=True)[1]
        chosen = (_balanced if sizes.max() <= BALANCED_RATIO * sizes.min() else _stratified)(
            labels, count, draw
        )
        rows = order[torch.from_numpy(draw.permutation(chosen))]
        return replace(self, pixels=self.pixels[rows], labels=self.labels[rows], ids=self.ids[rows])


def _balanced(labels: np.ndarray, limit: int, draw: np.random.Generator) -> np.ndarray:
    """Rows of at most `limit` examples, as evenly over the classes as their sizes allow."""
    if limit >= len(labels):
        return np.arange(len(labels))
    order = draw.permutation(len(labels))
    classes = draw.permutation(np.unique(labels))
    queues = [order[labels[order] == label] for label in classes]
    # Turn by turn: every class gives its first example, then its second, ...; stop after `limit`.
    turns = np.concatenate([np.arange(len(queue)) for queue in queues])
    ranks = np.concatenate([np.full(len(queue), rank) for rank, queue in enumerate(queues)])
    first = np.lexsort((ranks, turns))[:limit]
    return np.sort(np.concatenate(queues)[first])


def _stratified(labels: np.ndarray, limit: int, draw: np.random.Generator) -> np.ndarray:
    """Rows of at most `limit` examples, from every class its share, rounded up or down at random.

    Systematic sampling along the rows sorted by class: every row is as likely as any other
    (Cochran 1977, Sampling Techniques, chapter 8).
    """
    if limit >= len(labels):
        return np.arange(len(labels))
    order = draw.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    places = np.floor((np.arange(limit) + draw.random()) * len(labels) / limit).astype(np.int64)
    return np.sort(order[places])


def make_images(  # one argument a field
    pixels: torch.Tensor,
    labels: torch.Tensor,
    *,
    name: str,
    split: str,
    classes: int,
    class_names: tuple[str, ...] = (),
) -> Images:
    """The whole split as `Images`, checked.

    Args:
        pixels: (N, C, H, W) uint8, or float in [0, 1].
        labels: (N,) whole numbers in [0, classes).
        name: as in `Images`; begins every error.
        split: as in `Images`.
        classes: as in `Images`.
        class_names: as in `Images`.

    Raises:
        RobauditError: shapes, values or labels are not as above.

    """
    if pixels.ndim != 4 or not len(pixels) or min(pixels.shape) < 1:
        raise RobauditError(
            f"{name}: images have shape {tuple(pixels.shape)}; expected (N, C, H, W) with N >= 1"
        )
    if labels.shape != pixels.shape[:1]:
        raise RobauditError(
            f"{name}: {len(pixels)} images but labels of shape {tuple(labels.shape)}; give one label an image"
        )
    if pixels.dtype != torch.uint8:
        pixels = _checked_floats(pixels, name)
    if labels.is_floating_point() and not bool((labels == labels.round()).all()):
        raise RobauditError(f"{name}: labels are not whole numbers; give class indices 0, 1, 2, ...")
    labels = labels.long()
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise RobauditError(f"{name}: labels run from {low} to {high}; expected 0 to {classes - 1}")
    if classes < 2:
        raise RobauditError(f"{name}: only one class; a classifier's robustness needs at least 2")
    digest = hashlib.sha256(repr((tuple(pixels.shape), str(pixels.dtype))).encode())
    digest.update(pixels.contiguous().numpy().data)
    digest.update(labels.contiguous().numpy().data)
    ids = torch.arange(len(labels))
    return Images(
        pixels=pixels,
        labels=labels,
        ids=ids,
        name=name,
        split=split,
        total=len(labels),
        classes=classes,
        class_names=class_names,
        sha256=digest.hexdigest(),
    )


def _checked_floats(pixels: torch.Tensor, name: str) -> torch.Tensor:
    if not pixels.is_floating_point():
        raise RobauditError(f"{name}: images are {pixels.dtype}; expected uint8, or float in [0, 1]")
    pixels = pixels.float()
    if not bool(torch.isfinite(pixels).all()):
        raise RobauditError(f"{name}: images hold NaN or infinite values; expected floats in [0, 1]")
    low, high = float(pixels.min()), float(pixels.max())
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return pixels if low >= 0 and high <= 1 else pixels.clamp(0, 1)
    raise RobauditError(
        f"{name}: images run from {low:.5g} to {high:.5g}; expected [0, 1], before any normalisation "
        "(the model does that)"
    )
