"""Images and labels as people hold them, as the `Images` that are audited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data import default_collate as joined_by_default

from robaudit.datasets import DATASETS
from robaudit.errors import RobauditError
from robaudit.fast import generators
from robaudit.inputs import Images, load_images, make_images

#: The name and the split of arrays, which have none; nobody's file is called so.
ARRAYS, GIVEN = "<arrays>", "as given"
_CHANNELS, _LAST = (1, 3), (1, 3, 4)
#: What is read only for a data set given by its name or path.
_NAMED_ONLY = ("data_dir", "split", "download")


@dataclass(frozen=True)
class Samples:
    """Images and labels before it is known how many classes there are.

    Attributes:
        pixels: (N, C, H, W), uint8 or float.
        labels: (N,) whole numbers.
        ids: (N,), where each stands in the whole.
        total: examples of the whole.
        name: of the data set.
        classes: 0 where nobody says.
        class_names: empty where nobody says.

    """

    pixels: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor
    total: int
    name: str
    classes: int = 0
    class_names: tuple[str, ...] = ()

    def images(self, classes: int, seed: int) -> Images:
        """As `Images` of this many classes, in the random order that the seed fixes.

        Raises:
            RobauditError: not images in [0, 1], or not labels below `classes`.

        """
        names = self.class_names if len(self.class_names) == classes else ()
        found = make_images(
            self.pixels, self.labels, name=self.name, split=GIVEN, classes=classes, class_names=names
        )
        return replace(found, ids=self.ids, total=self.total).subset(None, seed)


def name_of(data: object) -> str:
    """What the data set is called: a name that `DATASETS` knows where it is one of those."""
    if isinstance(data, str | PathLike):
        return str(data)
    if isinstance(data, Images):
        return data.name
    if isinstance(data, DataLoader):
        return name_of(data.dataset)
    if isinstance(data, Dataset):
        kind = type(data)
        if kind.__module__.startswith("torchvision."):
            return next(
                (n for n, spec in DATASETS.items() if spec.torchvision == kind.__name__), kind.__name__
            )
        return f"<{kind.__name__}>"
    return ARRAYS


def read(data: object, labels: object, settings: Mapping[str, Any], seed: int) -> Images | Samples:
    """The images and labels of what `check` was given.

    Args:
        data: a name or path, `Images`, a `Dataset`, a `DataLoader`, or a tensor or an array of images.
        labels: of a tensor or an array; None otherwise.
        settings: `data_dir`, `split`, `download` of a name or path; `limit`.
        seed: of the subset and of a `Dataset`'s random transforms.

    Raises:
        TypeError: data of another kind, or labels missing or too many.
        RobauditError: not images in [0, 1] with whole labels.

    """
    if not isinstance(data, str | PathLike):
        for name in _NAMED_ONLY:
            if name in settings:
                raise TypeError(f"{name}: is for a data set given by its name or path; leave it out")
    if isinstance(data, torch.Tensor | np.ndarray):
        if labels is None:
            raise TypeError("labels are missing; with a tensor or an array pass check(model, images, labels)")
        return _samples(data, labels, ARRAYS)
    if not isinstance(data, str | PathLike | Images | Dataset | DataLoader):
        raise TypeError(
            f"data is of type {type(data).__name__}; expected a tensor or an array of images with labels, a Dataset, "
            "a DataLoader, or a data set's name or path"
        )
    if labels is not None:
        raise TypeError(
            "labels: are for a tensor or an array of images; a data set has its own, leave them out"
        )
    if isinstance(data, str | PathLike):
        wanted = {name: settings[name] for name in _NAMED_ONLY if name in settings}
        return load_images(str(data), seed=seed, **wanted)
    if isinstance(data, Images):
        return data.subset(None, seed)
    with generators(seed):
        if isinstance(data, DataLoader) and not _is_plain(data):
            return _described(_joined(data, name_of(data)), data.dataset)
        found = data.dataset if isinstance(data, DataLoader) else data
        return _described(_from_dataset(found, settings.get("limit"), seed), found)


def _is_plain(loader: DataLoader[Any]) -> bool:
    """Whether a loader gives its data set as it is, in order or shuffled, so that it can be read by itself."""
    whole = isinstance(loader.sampler, SequentialSampler) or (
        isinstance(loader.sampler, RandomSampler) and not loader.sampler.replacement
    )
    return (
        whole and loader.collate_fn is joined_by_default and not isinstance(loader.dataset, IterableDataset)
    )


def _from_dataset(dataset: Dataset[Any], limit: int | None, seed: int) -> Samples:
    """All of it, or a simple random sample, of which nothing else is read."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return _joined(([item] for item in dataset), name_of(dataset), single=True)  # type: ignore[attr-defined]
    total = len(dataset)
    rows = np.arange(total)
    if limit is not None and limit < total:
        rows = np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(total)[: max(limit, 1)])
    found = _joined(([dataset[int(row)]] for row in rows), name_of(dataset), single=True)
    return replace(found, ids=torch.from_numpy(rows.astype(np.int64)), total=total)


def _joined(batches: Iterable[Any], name: str, *, single: bool = False) -> Samples:
    """The batches (images, labels) of a loader, or with `single` the items of a data set, each in a list."""
    pixels, labels = [], []
    for batch in batches:
        pair = batch[0] if single else batch
        if not isinstance(pair, tuple | list) or len(pair) < 2:
            what = "items" if single else "batches"
            raise RobauditError(f"{name}: its {what} are {type(pair).__name__}; expected (image, label)")
        image, label = pair[0], pair[1]
        x = _array(image)
        pixels.append(_compact(_channels_first(x[None] if single else x, name)))
        labels.append(_labels(np.asarray(_array(label))[None] if single else label, len(pixels[-1]), name))
    if not pixels:
        raise RobauditError(f"{name}: holds no example; an audit needs at least one")
    if len({tuple(part.shape[1:]) for part in pixels}) > 1:
        raise RobauditError(f"{name}: its images differ in size; resize them in the data set's transform")
    if any(part.dtype != torch.uint8 for part in pixels):  # one kind for all
        pixels = [part.float().div(255) if part.dtype == torch.uint8 else part for part in pixels]
    count = sum(map(len, pixels))
    return Samples(torch.cat(pixels), torch.cat(labels), torch.arange(count), count, name)


def _samples(data: torch.Tensor | np.ndarray, labels: object, name: str) -> Samples:
    pixels = _compact(_channels_first(_array(data), name))
    found = _labels(labels, len(pixels), name)
    return Samples(pixels, found, torch.arange(len(pixels)), len(pixels), name)


def _described(samples: Samples, dataset: object) -> Samples:
    """With the classes that the data set says it has."""
    names = getattr(dataset, "classes", None)
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        known = DATASETS.get(samples.name)
        return replace(samples, classes=known.classes if known else 0)
    return replace(samples, classes=len(names), class_names=tuple(names))


def _array(value: object) -> Any:
    """A tensor on the CPU without its history, or an array; a picture becomes one."""
    return value.detach().cpu() if isinstance(value, torch.Tensor) else np.asarray(value)


def _tensor(found: torch.Tensor | np.ndarray) -> torch.Tensor:
    """The same numbers; copied only where torch cannot use an array's memory.

    Raises:
        TypeError: an array of no numbers.

    """
    return found if isinstance(found, torch.Tensor) else torch.from_numpy(np.require(found, None, ["C", "W"]))


def _channels_first(found: torch.Tensor | np.ndarray, name: str) -> torch.Tensor:
    """(N, C, H, W). Bytes may be (N, H, W) or (N, H, W, C) too, as pictures and arrays of them are."""
    is_array = isinstance(found, np.ndarray)
    try:
        pixels = _tensor(found)
    except TypeError as error:
        raise RobauditError(
            f"{name}: images are {found.dtype}; expected uint8, or float in [0, 1]"
        ) from error
    shape = tuple(pixels.shape)
    if pixels.dtype == torch.uint8 and len(shape) == 3:
        return pixels.unsqueeze(1)
    if len(shape) == 4 and shape[3] in _LAST and (shape[1] not in _CHANNELS or is_array):
        if pixels.dtype == torch.uint8:
            return pixels.permute(0, 3, 1, 2).contiguous()
        if shape[1] not in _CHANNELS:
            raise RobauditError(
                f"{name}: images have shape {shape}, channels last; expected (N, C, H, W): permute(0, 3, 1, 2)"
            )
    if len(shape) == 3 and len(pixels):
        raise RobauditError(
            f"{name}: images have shape {shape}; expected (N, C, H, W): unsqueeze(1) for grey images, "
            "unsqueeze(0) for a single one"
        )
    return pixels


def _compact(pixels: torch.Tensor) -> torch.Tensor:
    """Floats that are bytes / 255 as those bytes: the same numbers, a quarter of the memory, the same digest."""
    if not pixels.is_floating_point():
        return pixels
    exact = pixels.float()
    as_bytes = exact.mul(255).round().nan_to_num(0, 0, 0).clamp(0, 255).to(torch.uint8)
    return as_bytes if torch.equal(as_bytes.float().div(255), exact) else exact


def _labels(labels: object, count: int, name: str) -> torch.Tensor:
    """(N,) int64."""
    try:
        found = _tensor(_array(labels))
    except (TypeError, ValueError) as error:
        raise RobauditError(
            f"{name}: labels are no whole numbers; give class indices 0, 1, 2, ..."
        ) from error
    if found.ndim == 2 and len(found) == count:
        raise RobauditError(
            f"{name}: labels have shape {tuple(found.shape)}, as one-hot ones have; "
            "give one class index an example: labels.argmax(1)"
        )
    if found.shape != (count,):
        raise RobauditError(
            f"{name}: {count} images but labels of shape {tuple(found.shape)}; give one label an image"
        )
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        kind = str(found.dtype).removeprefix("torch.")
        raise RobauditError(f"{name}: labels are {kind}; give class indices as whole numbers: labels.long()")
    return found.long()
