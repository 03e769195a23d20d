"""What an evidence file says of images and clean predictions, against the data set and the model at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from robaudit.attacks import forward
from robaudit.audit.witnesses import NEAR_TIE, batch_of
from robaudit.devices import in_parts
from robaudit.evidence import Evidence, WitnessRow, decode_image, encode_image
from robaudit.fast import strict_arithmetic
from robaudit.inputs import Images


@dataclass(frozen=True)
class Clean:
    """Clean images (n, C, H, W), their labels and ids (n,)."""

    x: torch.Tensor
    y: torch.Tensor
    ids: torch.Tensor


def stored_images(rows: list[WitnessRow], shape: tuple[int, ...]) -> Clean:
    """The clean images of broken examples, which the file itself holds; a damaged one was named before."""
    found: dict[int, tuple[np.ndarray, int]] = {}
    for row in rows:
        try:
            found[row.id] = decode_image(row.image, shape), row.label  # type: ignore[arg-type]
        except ValueError:
            continue
    x = np.stack([image for image, _ in found.values()]) if found else np.zeros((0, *shape), np.float32)
    labels = torch.tensor([label for _, label in found.values()], dtype=torch.int64)
    return Clean(torch.from_numpy(x), labels, torch.tensor(list(found), dtype=torch.int64))


def all_images(evidence: Evidence, images: Images) -> Clean:
    """The clean images of all audited examples."""
    part = images.subset(evidence.header.plan.limit, evidence.header.plan.seed)
    here = slice(0, len(evidence))
    return Clean(part.float(here), part.labels[here], part.ids[here])


def other_data(evidence: Evidence, rows: list[WitnessRow], images: Images) -> list[str]:
    """In what the data set at hand is not the one that the file says was audited."""
    header = evidence.header
    stated, plan = header.data, header.plan
    if stated["sha256"] != images.sha256:
        return [
            f"data: {images.name} {images.split} at hand is not what was audited ({stated['name']} {stated['split']})"
        ]
    part = images.subset(plan.limit, plan.seed)
    found = []
    if (stated["total"], stated["n"]) != (images.total, len(part)):
        found.append(
            f"data: {stated['n']} of {stated['total']} examples are said to be audited; "
            f"there are {len(part)} of {images.total}"
        )
    n = min(len(evidence), len(part))
    if len(evidence) > n or (part.ids[:n].numpy() != evidence.ids[:n]).any():
        return [*found, "data: the examples are not those that this seed and limit choose, in that order"]
    if (part.labels[:n].numpy() != evidence.labels).any():
        found.append("data: labels are not the data set's")
    place = {key: row for row, key in enumerate(part.ids.tolist())}
    changed = sorted(
        {row.id for row in rows if row.image != encode_image(part.pixels[place[row.id]].numpy())} if n else ()
    )
    if changed:
        found.append(
            f"data: the image of example {changed[0]} and {len(changed) - 1} others is not the data set's"
        )
    return found


def answers_of(strict: nn.Module, x: torch.Tensor, device: str) -> torch.Tensor:
    """(n, classes) logits of the model that judges, on the CPU."""
    if not len(x):
        return torch.zeros(0, 2)

    def answers(part: torch.Tensor) -> torch.Tensor:
        with strict_arithmetic(), torch.no_grad():
            return forward(strict, x[part].to(device)).cpu()

    return torch.cat(in_parts(answers, torch.arange(len(x)), batch_of(x.shape[1:])))


def other_predictions(evidence: Evidence, clean: Clean, logits: torch.Tensor) -> list[str]:
    """Clean predictions that are not the model's, near-ties aside."""
    stated = dict(zip(evidence.ids.tolist(), evidence.predictions.tolist(), strict=True))
    wrong = []
    for key, row in zip(clean.ids.tolist(), logits, strict=True):
        prediction = stated[key]
        if not bool(row.isfinite().all()):
            right = prediction == -1
        else:
            spread = float(row.amax() - row.amin())
            right = 0 <= prediction < len(row) and float(row.amax() - row[prediction]) <= NEAR_TIE * spread
        if not right:
            wrong.append(key)
    if not wrong:
        return []
    return [f"clean prediction of example {wrong[0]} and {len(wrong) - 1} others: is not the model's"]
