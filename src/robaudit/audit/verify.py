"""What an evidence file proves, what it only says, and how much of that stands up to being done again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from robaudit.attacks import Examples, forward
from robaudit.audit.header import expect_model
from robaudit.audit.recompute import Pair, Recomputation, Recompute, draw, recompute
from robaudit.audit.witnesses import batch_of, failing_witnesses
from robaudit.devices import in_parts
from robaudit.evidence import (
    Evidence,
    EvidenceFile,
    WitnessRow,
    contradictions,
    decode_image,
    doubtful,
    encode_image,
)
from robaudit.fast import Averaged, strict_arithmetic
from robaudit.inputs import Classifier, Images
from robaudit.plan import AUTOATTACK, AuditPlan
from robaudit.verdict import judge

#: AutoAttack's survivors that another attack breaks are attacked again, whatever was asked for: so many pairs.
DOUBTFUL_PAIRS = 16
#: Two logits closer than this share of their spread may change places on another machine.
NEAR_TIE = 1e-4


@dataclass(frozen=True)
class Verification:
    """What was checked, and what is wrong.

    Attributes:
        witnesses: how many there were; each of those that are not `bad` proves a break.
        bad: of these, those that prove nothing.
        predictions: clean predictions that the strict model repeated.
        examples: audited ones, each of which has a clean prediction.
        with_data: whether the images were at hand: all predictions and all pixels were compared.
        survivors: (example, attack) pairs that the file calls survivors.
        doubtful: AutoAttack's survivors that another attack breaks, attacked again; None where there are none.
        recomputed: a random part of the survivors, attacked again; None where nobody asked for it.
        failures: what is wrong; the first words say with what.

    """

    witnesses: int
    bad: int
    predictions: int
    examples: int
    with_data: bool
    survivors: int
    doubtful: Recomputation | None
    recomputed: Recomputation | None
    failures: tuple[str, ...]


def judging(classifier: Classifier, plan: AuditPlan) -> nn.Module:
    """What a break must fool: the classifier, or its mean over the draws that are kept for this."""
    if plan.eot == 1:
        return classifier
    return Averaged(classifier, plan.eot, plan.seed, "judge", one_by_one=True)


def verify(
    path: Path,
    classifier: Classifier,
    device: str = "cpu",
    images: Images | None = None,
    again: Recompute | None = None,
) -> Verification:
    """Check everything about an evidence file that can be checked.

    Args:
        path: the file.
        classifier: the model that it is about.
        device: where to compute.
        images: the whole split, as `load_images` gives it for the plan's seed; None where it is not at hand.
        again: how many survivors to attack again; that needs `images`.

    Raises:
        RobauditError: the file is damaged or of another schema, or was made with another model.

    """
    with EvidenceFile.open(path) as file:
        evidence, rows, failures = file.read(), file.witnesses(), contradictions(file)
    header = evidence.header
    expect_model(header, classifier)
    failures += _undecided(evidence)
    strict = judging(classifier.to(device), header.plan)
    shape = tuple(int(size) for size in header.data["shape"])
    bad = failing_witnesses(rows, header.plan.threat, strict, shape, device)
    failures = bad + failures
    clean = _stored(rows, shape)
    if images is not None:
        problems = _other_data(evidence, rows, images)
        failures += problems
        clean = clean if problems else _all_of(evidence, images)
    logits = _logits(strict, clean.x, device)
    failures += _other_predictions(evidence, clean, logits)
    examples = Examples(clean.x, clean.y, clean.ids, logits)
    pairs, known = _survivors(evidence), set(clean.ids.tolist())
    odd = set(evidence.ids[doubtful(evidence)].tolist())
    models = (classifier, strict)

    def attack_again(chosen: list[Pair], among: int, request: Recompute) -> Recomputation | None:
        return recompute(models, header, examples, chosen, among, request, device) if chosen else None

    suspects = [pair for pair in pairs if pair[1] in odd & known and pair[0] in header.plan.members]
    first, second = None, None
    if not failures:
        request = Recompute(DOUBTFUL_PAIRS, again.seed if again else secrets.randbits(32))
        first = attack_again(draw(suspects, request), len(suspects), request)
    if again is not None and again.pairs and not failures:
        # What searched with another model cannot be repeated without it.
        own = [name for name in header.plan.attacks if name not in header.plan.helpers]
        mine = [pair for pair in pairs if pair[0] in (own if again.engine == "robaudit" else AUTOATTACK)]
        second = attack_again(draw(mine, again), len(mine), again)
    failures += [text for part in (first, second) if part for text in part.failures()]
    return Verification(
        witnesses=len(rows),
        bad=len(bad),
        predictions=len(clean.ids),
        examples=len(evidence),
        with_data=len(clean.ids) == len(evidence) and images is not None,
        survivors=len(pairs),
        doubtful=first,
        recomputed=second,
        failures=tuple(failures),
    )


@dataclass(frozen=True)
class _Clean:
    """Clean images (n, C, H, W), their labels and ids (n,)."""

    x: torch.Tensor
    y: torch.Tensor
    ids: torch.Tensor


def _undecided(evidence: Evidence) -> list[str]:
    """What the file says of its own course, against the verdict that its outcomes give."""
    course, wanted = evidence.header.early_stopping, int(evidence.header.data["n"])
    try:
        verdict = judge(evidence)
    except ValueError as error:
        return [f"verdict: {error}"]
    found = []
    if evidence.header.finished and not verdict.settled and len(evidence) < wanted:
        found.append(
            f"verdict: is said to be finished, but {len(evidence)} of {wanted} examples do not settle it"
        )
    if course.get("decided") and not (verdict.settled and verdict.decided_after <= course["examples"]):
        found.append(
            f"verdict: is said to be decided by {course['examples']} examples, which the outcomes do not do"
        )
    return found


def _stored(rows: list[WitnessRow], shape: tuple[int, ...]) -> _Clean:
    """The clean images of broken examples, which the file itself holds; a damaged one was named before."""
    found: dict[int, tuple[np.ndarray, int]] = {}
    for row in rows:
        try:
            found[row.id] = decode_image(row.image, shape), row.label  # type: ignore[arg-type]
        except ValueError:
            continue
    x = np.stack([image for image, _ in found.values()]) if found else np.zeros((0, *shape), np.float32)
    labels = torch.tensor([label for _, label in found.values()], dtype=torch.int64)
    return _Clean(torch.from_numpy(x), labels, torch.tensor(list(found), dtype=torch.int64))


def _all_of(evidence: Evidence, images: Images) -> _Clean:
    part = images.subset(evidence.header.plan.limit, evidence.header.plan.seed)
    here = slice(0, len(evidence))
    return _Clean(part.float(here), part.labels[here], part.ids[here])


def _other_data(evidence: Evidence, rows: list[WitnessRow], images: Images) -> list[str]:
    """In what the data set at hand is not the one that the file says was audited."""
    header = evidence.header
    told, plan = header.data, header.plan
    if told["sha256"] != images.sha256:
        return [
            f"data: {images.name} {images.split} at hand is not what was audited ({told['name']} {told['split']})"
        ]
    part = images.subset(plan.limit, plan.seed)
    found = []
    if (told["total"], told["n"]) != (images.total, len(part)):
        found.append(
            f"data: {told['n']} of {told['total']} examples are said to be audited; "
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


def _logits(strict: nn.Module, x: torch.Tensor, device: str) -> torch.Tensor:
    if not len(x):
        return torch.zeros(0, 2)

    def answers(part: torch.Tensor) -> torch.Tensor:
        with strict_arithmetic(), torch.no_grad():
            return forward(strict, x[part].to(device)).cpu()

    return torch.cat(in_parts(answers, torch.arange(len(x)), batch_of(x.shape[1:])))


def _other_predictions(evidence: Evidence, clean: _Clean, logits: torch.Tensor) -> list[str]:
    """Clean predictions that are not the model's, near-ties aside."""
    told = dict(zip(evidence.ids.tolist(), evidence.predictions.tolist(), strict=True))
    wrong = []
    for key, row in zip(clean.ids.tolist(), logits, strict=True):
        said = told[key]
        if not bool(row.isfinite().all()):
            right = said == -1
        else:
            spread = float(row.amax() - row.amin())
            right = 0 <= said < len(row) and float(row.amax() - row[said]) <= NEAR_TIE * spread
        if not right:
            wrong.append(key)
    if not wrong:
        return []
    return [f"clean prediction of example {wrong[0]} and {len(wrong) - 1} others: is not the model's"]


def _survivors(evidence: Evidence) -> list[Pair]:
    """Every (attack, example) that the file says was not broken."""
    return [
        (name, int(key))
        for name in evidence.header.plan.attacks
        for key in evidence.ids[evidence.survives(name)]
    ]
