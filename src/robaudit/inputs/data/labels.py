"""Labels as people store them, as class indices."""

from __future__ import annotations

import numpy as np

from robaudit.errors import RobauditError

#: More classes than any data set has.
MOST_CLASSES = 1_000_000
#: What masks and 8-bit labels hold where there is no label.
NO_LABEL = 255


def class_labels(stored: np.ndarray, name: str) -> np.ndarray:
    """(N,) int64 of what is one class index an example: whole numbers of any type, (N, 1), or one-hot (N, K).

    Args:
        stored: numbers.
        name: begins every error.

    Raises:
        RobauditError: no class indices, or only nearly so; the message says what to do.

    """
    labels = stored
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        count = int((~np.isfinite(labels)).sum())
        raise RobauditError(f"{name}: {count} labels are NaN or infinite; remove those examples")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()):
            raise RobauditError(
                f"{name}: labels have shape {labels.shape} and are not one-hot; give one class index an example"
            )
        labels = labels.argmax(1)
    if labels.dtype.kind == "f" and not (labels == np.round(labels)).all():
        raise RobauditError(f"{name}: labels are not whole numbers; give class indices 0, 1, 2, ...")
    if labels.size:
        _check_range(labels, name)
    return labels.astype(np.int64)


def _check_range(labels: np.ndarray, name: str) -> None:
    low, high = labels.min(), labels.max()
    if low < 0:
        how = "; -1 and 1 stand for 0 and 1: (labels + 1) // 2" if set(np.unique(labels)) == {-1, 1} else ""
        raise RobauditError(f"{name}: labels go down to {int(low)}; give class indices from 0{how}")
    if high >= MOST_CLASSES:
        raise RobauditError(f"{name}: labels go up to {int(high)}; give class indices 0, 1, 2, ...")
    others = labels[labels != NO_LABEL]
    if others.size and set(np.unique(labels)) == {0, NO_LABEL}:
        raise RobauditError(
            f"{name}: labels are 0 and 255; give 0 and 1 (labels // 255), or remove what has no label"
        )
    if high == NO_LABEL and others.size and others.max() < NO_LABEL // 2:
        raise RobauditError(
            f"{name}: {labels.size - others.size} labels are 255, which stands for no label, the others at most "
            f"{int(others.max())}; remove those examples"
        )
