"""Which arrays of a file are the images and the labels, by the names that people give them."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.errors import RobauditError

#: What the images, and what the labels are called, alone or with a split: `x_test`, `test_images`, `arr_0`.
IMAGES = ("images", "image", "imgs", "img", "x", "data", "inputs", "input", "pixels", "arr0")
LABELS = ("labels", "label", "y", "targets", "target", "lbls", "lbl", "arr1")
#: Words for parts of a data set, by what `--split` calls them.
SPLITS = {"test": "test", "te": "test", "train": "train", "tr": "train", "training": "train"} | dict.fromkeys(
    ("val", "valid", "validation", "dev"), "val"
)


def image_and_label_names(names: Sequence[str], split: str, source: str) -> tuple[str, str]:
    """The names of the images' and the labels' array.

    Args:
        names: of all arrays.
        split: whose arrays are taken where the names tell splits apart.
        source: begins every error.

    Raises:
        RobauditError: they are missing, several could be meant, or they are of other splits only.

    """
    if {"images", "labels"} <= set(names):
        return "images", "labels"
    held = ", ".join(name[:20] for name in names[:6])
    expected = "expected arrays 'images' and 'labels'"
    parts: dict[str, tuple[list[str], list[str]]] = {}
    for name in names:
        if role := _role(name):
            parts.setdefault(role[0], ([], []))[role[1]].append(name)
    pairs = {part: (x[0], y[0]) for part, (x, y) in parts.items() if len(x) == len(y) == 1}
    wanted = SPLITS.get(split, split)
    if found := pairs.get("") or pairs.get(wanted):
        return found
    if any(len(x) > 1 or len(y) > 1 for x, y in parts.values()):
        raise RobauditError(
            f"{source}: which arrays are the images and the labels is open ({held}); {expected}"
        )
    if pairs:
        raise RobauditError(f"{source}: holds no {wanted} split ({held}); pass --split {min(pairs)}")
    missing = "labels" if any(x for x, _ in parts.values()) else "images"
    raise RobauditError(f"{source}: holds no '{missing}' ({held}); {expected}")


def _role(name: str) -> tuple[str, int] | None:
    """(split or nothing, 0 for images and 1 for labels) of a name; None where it says neither."""
    words = name.lower().replace("arr_", "arr").replace("-", "_").replace(".", "_").split("_")
    split = [SPLITS[word] for word in words if word in SPLITS]
    rest = [word for word in words if word not in SPLITS]
    if len(rest) == 2 and rest[0] in IMAGES and rest[1] in LABELS:  # `data_labels`, `x_label`
        rest = rest[1:]
    if len(split) > 1 or len(rest) != 1 or rest[0] not in IMAGES + LABELS:
        return None
    return (split or [""])[0], int(rest[0] in LABELS)
