"""Images and labels as people hold them, as the `Images` that are audited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from robaudit.api.arrays import as_array, channels_first, class_indices, compact
from robaudit.datasets import DATASETS, IN_MEMORY
from robaudit.errors import RobauditError
from robaudit.fast import generators
from robaudit.inputs import Images, load_images, make_images

#: The name of arrays, which have none; nobody's file is called so.
ARRAYS = "<arrays>"
#: Of images whose data set does not say how many classes it has.
UNKNOWN = 2**31
#: What is read only for a data set given by its name or path.
_NAMED_ONLY = ("data_dir", "split", "download", "image_size")


@dataclass(frozen=True)
class _Samples:
    """Images and labels as they were read.

    Attributes:
        pixels: (N, C, H, W), uint8 or float.
        labels: (N,) whole numbers.
        ids: (N,), where each stands in the whole.
        total: examples of the whole.
        name: of the data set.
        classes: `UNKNOWN` where nobody says.
        class_names: empty where nobody says.

    """

    pixels: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor
    total: int
    name: str
    classes: int = UNKNOWN
    class_names: tuple[str, ...] = ()

    def images(self, seed: int) -> Images:
        """In the random order that the seed fixes.

        Raises:
            RobauditError: not images in [0, 1], or not labels below `classes`.

        """
        found = make_images(
            self.pixels,
            self.labels,
            name=self.name,
            split=IN_MEMORY,
            classes=self.classes,
            class_names=self.class_names,
        )
        return replace(found, ids=self.ids, total=self.total).subset(None, seed)


def with_classes(images: Images, classes: int) -> Images:
    """The same, with as many classes as the model has where the data set did not say.

    Raises:
        RobauditError: a label is beyond them.

    """
    if images.classes != UNKNOWN:
        return images
    highest = int(images.labels.max())
    if highest >= classes:
        raise RobauditError(
            f"{images.name}: labels run up to {highest}; the model has {classes} classes, 0 to {classes - 1}"
        )
    return replace(images, classes=classes)


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


def read(data: object, labels: object, settings: Mapping[str, Any], seed: int) -> Images:
    """The images and labels of what `check` was given; with `UNKNOWN` classes where it does not say.

    Args:
        data: a name or path, `Images`, a `Dataset`, a `DataLoader`, or a tensor or an array of images.
        labels: of a tensor or an array; None otherwise.
        settings: `data_dir`, `split`, `download`, `image_size` of a name or path; `limit`.
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
        return _samples(data, labels, ARRAYS).images(seed)
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
        dataset = data.dataset if isinstance(data, DataLoader) else data
        if isinstance(data, DataLoader) and not _is_plain(data):
            found = _joined(data, name_of(data))
        else:
            found = _from_dataset(dataset, settings.get("limit"), seed)
    return _described(found, dataset).images(seed)


def _is_plain(loader: DataLoader[Any]) -> bool:
    """Whether a loader gives its data set as it is, in order or shuffled, so that it can be read by itself."""
    whole = isinstance(loader.sampler, SequentialSampler) or (
        isinstance(loader.sampler, RandomSampler) and not loader.sampler.replacement
    )
    return whole and loader.collate_fn is default_collate and not isinstance(loader.dataset, IterableDataset)


def _from_dataset(dataset: Dataset[Any], limit: int | None, seed: int) -> _Samples:
    """All of it, or a simple random sample, of which nothing else is read."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return _joined(([item] for item in dataset), name_of(dataset), single=True)  # type: ignore[attr-defined]
    total = len(dataset)
    rows = np.arange(total)
    if limit is not None and limit < total:
        rows = np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(total)[: max(limit, 1)])
    found = _joined(([dataset[int(row)]] for row in rows), name_of(dataset), single=True)
    return replace(found, ids=torch.from_numpy(rows.astype(np.int64)), total=total)


def _joined(batches: Iterable[Any], name: str, *, single: bool = False) -> _Samples:
    """The batches (images, labels) of a loader, or with `single` the items of a data set, each in a list."""
    pixels, labels = [], []
    for batch in batches:
        pair = batch[0] if single else batch
        if not isinstance(pair, tuple | list) or len(pair) < 2:
            what = "items" if single else "batches"
            raise RobauditError(f"{name}: its {what} are {type(pair).__name__}; expected (image, label)")
        image, label = pair[0], pair[1]
        x = as_array(image)
        pixels.append(compact(channels_first(x[None] if single else x, name)))
        labels.append(
            class_indices(np.asarray(as_array(label))[None] if single else label, len(pixels[-1]), name)
        )
    if not pixels:
        raise RobauditError(f"{name}: holds no example; an audit needs at least one")
    if len({tuple(part.shape[1:]) for part in pixels}) > 1:
        raise RobauditError(f"{name}: its images differ in size; resize them in the data set's transform")
    if any(part.dtype != torch.uint8 for part in pixels):  # one kind for all
        pixels = [part.float().div(255) if part.dtype == torch.uint8 else part for part in pixels]
    count = sum(map(len, pixels))
    return _Samples(torch.cat(pixels), torch.cat(labels), torch.arange(count), count, name)


def _samples(data: torch.Tensor | np.ndarray, labels: object, name: str) -> _Samples:
    pixels = compact(channels_first(as_array(data), name))
    found = class_indices(labels, len(pixels), name)
    return _Samples(pixels, found, torch.arange(len(pixels)), len(pixels), name)


def _described(samples: _Samples, dataset: object) -> _Samples:
    """With the classes that the data set says it has."""
    names = getattr(dataset, "classes", None)
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        known = DATASETS.get(samples.name)
        return replace(samples, classes=known.classes if known else UNKNOWN)
    return replace(samples, classes=len(names), class_names=tuple(names))
