"""The adversarial images that an evidence file holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from robaudit.errors import RobauditError
from robaudit.evidence.ball import Floats
from robaudit.evidence.codec import decode_image, decode_witness
from robaudit.evidence.evidence import Header
from robaudit.evidence.rows import WitnessRow


def one_each(rows: Iterable[WitnessRow]) -> list[WitnessRow]:
    """One witness of every broken example, another attack's before PGD-10's, in the order of the data."""
    chosen: dict[int, WitnessRow] = {}
    for row in rows:
        if row.id not in chosen or chosen[row.id].attack == "pgd10":
            chosen[row.id] = row
    return [chosen[key] for key in sorted(chosen)]


def adversarial_images(rows: Sequence[WitnessRow], header: Header) -> Floats:
    """(n, C, H, W) float32 in [0, 1], inside the ball: the images of some witnesses.

    Raises:
        RobauditError: one is damaged.

    """
    channels, height, width = (int(size) for size in header.data["shape"])
    images = np.empty((len(rows), channels, height, width), np.float32)
    for place, row in enumerate(rows):
        try:
            clean = decode_image(row.image, (channels, height, width))
            images[place] = decode_witness(row.witness, clean, header.plan.threat)
        except ValueError as error:
            raise RobauditError(f"example {row.id}: {error}; run the audit again") from error
    return images
