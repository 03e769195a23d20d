"""Loss surfaces around images, and the `.npz` file they are kept in: arrays only, never pickled objects."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import RobauditError
from robaudit.evidence.arrays import read_arrays
from robaudit.files import read_file, write_bytes

SURFACE_SCHEMA = "robaudit-landscape/2"
#: Bytes of a file, and of the arrays in it.
_LARGEST = 1 << 28
#: Losses and their measures are made of float32 numbers.
_LARGEST_VALUE = 1e40
#: What `about` says at least, and as what.
_ABOUT: dict[str, dict[str, type | tuple[type, ...]]] = {
    "model": {"path": str, "sha256": str},
    "data": {"name": str},
    "threat": {"norm": str, "eps": (int, float)},
}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """z = loss(x + a r1 + b r2) around n images, r1 the sign of the input gradient, r2 random signs.

    Where the gradient is exactly zero, r1 is the sign of the margin's gradient, downhill.

    Attributes:
        offsets: (A,) increasing, the values of both a and b, in input units; 0 is in the middle.
        loss: (n, A, A) cross-entropy; axis 1 is a, axis 2 is b. NaN where the model's answer is not finite.
        margin: (n, A, A) the true class's logit minus the largest other one; the decision boundary lies where it is 0.
        computed: (n, A, A) bool: from the model itself, not interpolated between such points.
        ids, labels, predictions: (n,) int64.
        roughness: (n,) >= 0: how far the loss along r1 travels up and down beyond its net change, in units of log K,
            the loss of a guess; 0 for a monotone profile.
        falling: (n,) in [0, 1]: share of the steps along r1 at which the loss falls as a grows; 1 where the
            gradient is exactly zero.
        nonlinearity: (n,) >= 0: local linearity error: the largest deviation from the tangent plane at x, in the same
            units (Qin et al. 2019, https://arxiv.org/abs/1907.02610), on the points of the grid.
        has_gradient: (n,) bool: whether the input gradient is anything but exactly zero.
        about: the model, the data, the threat model, the seed and versions; plain JSON-ready data.

    """

    offsets: Floats
    loss: Floats
    margin: Floats
    computed: NDArray[np.bool_]
    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    roughness: Floats
    falling: Floats
    nonlinearity: Floats
    has_gradient: NDArray[np.bool_]
    about: dict[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    def mean(self) -> Floats:
        """(A, A): the mean surface of all images; NaN where any is."""
        return np.asarray(self.loss.mean(axis=0))

    def by_ruggedness(self) -> list[int]:
        """The images' places, the smoothest first: by roughness, then by the linearity error."""
        found = sorted(
            range(len(self)),
            key=lambda place: (
                *np.nan_to_num([self.roughness[place], self.nonlinearity[place]], nan=np.inf).tolist(),
                place,
            ),
        )
        return [int(place) for place in found]

    def crossed(self) -> NDArray[np.bool_]:
        """(n,) whether the class is right at the image and wrong at some point of its surface."""
        middle = len(self.offsets) // 2
        return np.asarray((self.margin[:, middle, middle] > 0) & (self.margin <= 0).any(axis=(1, 2)))

    def numbers(self) -> dict[str, float]:
        """The means of the numbers per image, the share of those `crossed`, and of points that were computed."""
        return {
            "roughness": float(np.nanmean(self.roughness)),
            "falling": float(np.nanmean(self.falling)),
            "nonlinearity": float(np.nanmean(self.nonlinearity)),
            "no_gradient": float(1 - self.has_gradient.mean()),
            "boundary": float(self.crossed().mean()),
            "computed": float(self.computed.mean()),
        }

    def save(self, path: Path) -> None:
        """Write the file at once or not at all.

        Raises:
            RobauditError: the place cannot be written.

        """
        arrays = {name: getattr(self, name) for name in _SHAPES}
        text = json.dumps({"schema": SURFACE_SCHEMA, **self.about}, sort_keys=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, about=np.frombuffer(text.encode(), np.uint8), **arrays)
        try:
            write_bytes(path, buffer.getvalue())
        except OSError as error:
            raise RobauditError(
                f"{path}: cannot be written ({error.strerror}); choose another place"
            ) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """The surface that `save` wrote.

        Raises:
            RobauditError: missing, damaged, or not such a file.

        """
        try:
            arrays = read_arrays(read_file(path, _LARGEST), {"about": "uint8", **_KINDS}, _LARGEST)
            about = json.loads(bytes(arrays.pop("about")).decode())
            if not isinstance(about, dict) or about.pop("schema", None) != SURFACE_SCHEMA:
                raise ValueError(f"of another schema than {SURFACE_SCHEMA}")
            _check_about(about)
            found = cls(**arrays, about=about)
            found._check()
        except FileNotFoundError as error:
            raise RobauditError(
                f"{path}: no such landscape; `robaudit landscape --out` writes one"
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RobauditError(
                f"{path}: not a landscape, or a damaged one ({reason}); draw it again"
            ) from error
        return found

    def _check(self) -> None:
        if self.ids.ndim != 1 or self.offsets.ndim != 1:
            raise ValueError("ids or offsets is not a list")
        sizes = {"n": len(self.ids), "A": len(self.offsets)}
        for name, (_, axes) in _SHAPES.items():
            expected = tuple(sizes[axis] for axis in axes)
            if getattr(self, name).shape != expected:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {expected}")
        if not sizes["n"] or sizes["A"] < 3 or not np.isfinite(self.offsets).all():
            raise ValueError("it is empty")
        for name, (kind, _) in _SHAPES.items():
            values = getattr(self, name)
            if kind == "float64" and (np.abs(values[~np.isnan(values)]) > _LARGEST_VALUE).any():
                raise ValueError(f"{name} is out of range")


#: Each array's type and axes.
_SHAPES: dict[str, tuple[str, str]] = {
    "offsets": ("float64", "A"),
    "loss": ("float64", "nAA"),
    "margin": ("float64", "nAA"),
    "computed": ("bool", "nAA"),
    "ids": ("int64", "n"),
    "labels": ("int64", "n"),
    "predictions": ("int64", "n"),
    "roughness": ("float64", "n"),
    "falling": ("float64", "n"),
    "nonlinearity": ("float64", "n"),
    "has_gradient": ("bool", "n"),
}
_KINDS = {name: kind for name, (kind, _) in _SHAPES.items()}


def _check_about(about: dict[str, Any]) -> None:
    for part, fields in _ABOUT.items():
        for name, kind in fields.items():
            if not isinstance(about.get(part), dict) or not isinstance(about[part].get(name), kind):
                raise ValueError(f"its {part} has no {name}")
