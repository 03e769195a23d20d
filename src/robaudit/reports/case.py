"""What a report is drawn from: the evidence, the verdict, a few witnesses as images, perhaps a landscape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import RobauditError
from robaudit.escaping import json_text
from robaudit.evidence import (
    SCHEMA,
    Evidence,
    EvidenceFile,
    Surface,
    WitnessRow,
    decode_image,
    decode_witness,
    same_model,
)
from robaudit.reports.summary import summary
from robaudit.verdict import Claim, Verdict, judge

#: Witnesses that a report shows.
SHOWN_WITNESSES = 8


@dataclass(frozen=True)
class Picture:
    """One witness; `clean` and `adversarial` are (C, H, W) float32 in [0, 1], `answer` None where it is not known."""

    attack: str
    id: int
    label: int
    prediction: int
    answer: int | None
    clean: NDArray[np.float32]
    adversarial: NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One audited checkpoint.

    Attributes:
        evidence, verdict: what was found and what it says.
        source: the evidence file as the user named it; empty where there is none.
        digest: sha256 of that file.
        pictures: the witnesses to show, worst first.
        surface: the loss around some images.
        data: `summary` of the evidence.
        checked: a sentence on how far the evidence was checked before it was judged; empty where nobody asked.
        standing: what a policy makes of it (pass, fail, inconclusive, waived); empty where there is none.
        ignored: codes of findings that the policy ignores, and until when and why.

    """

    evidence: Evidence
    verdict: Verdict
    source: str = ""
    digest: str = ""
    pictures: tuple[Picture, ...] = ()
    surface: Surface | None = None
    data: dict[str, Any] = field(default_factory=dict)
    checked: str = ""
    standing: str = ""
    ignored: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The checkpoint as it was named."""
        return str(self.data["model"]["path"])


@dataclass(frozen=True)
class Failure:
    """A checkpoint that could not be audited, because of `error`."""

    name: str
    error: str


def many_as_json(cases: Sequence[Case | Failure]) -> str:
    """The reports of several checkpoints as one JSON document."""
    reports = [
        {"model": {"path": item.name}, "error": item.error}
        if isinstance(item, Failure)
        else item.data | {"checked": item.checked, "standing": item.standing, "ignored": dict(item.ignored)}
        for item in cases
    ]
    return json_text({"schema": SCHEMA, "reports": reports})


def make_case(evidence: Evidence, verdict: Verdict, source: str = "") -> Case:
    """A case without pictures."""
    return Case(evidence, verdict, source, data=summary(evidence, verdict))


def open_case(
    path: Path,
    *,
    claim: Claim | None = None,
    surface: Surface | None = None,
    pictures: bool = False,
    unfinished: bool = False,
) -> Case:
    """The case that an evidence file holds.

    Args:
        path: of the file.
        claim: to be judged too.
        surface: of the same checkpoint.
        pictures: decode the witnesses to show.
        unfinished: take what there is of an audit that was interrupted.

    Raises:
        RobauditError: the file is missing, damaged, of another schema, of an unfinished audit, or the landscape is
            of another model.

    """
    with EvidenceFile.open(path) as file:
        found = file.read()
        rows = file.witnesses() if pictures else []
        digest = file.sha256
    if not len(found):
        raise RobauditError(f"{path}: no example is finished yet; resume it with `robaudit check`")
    if not found.header.finished and not unfinished:
        raise RobauditError(
            f"{path}: the audit is unfinished ({len(found)} of {found.header.data['n']} examples begun); "
            "resume it with the same `robaudit check`, or add --unfinished to report what there is"
        )
    if surface is not None and not _is_of(surface, found):
        raise RobauditError(
            f"{path}: the landscape is of another model; draw it of {found.header.model['path']}"
        )
    try:
        verdict = judge(found, claim)
        shown = tuple(_picture(row, found) for row in worst(rows, found))
    except ValueError as error:
        raise RobauditError(f"{path}: a damaged evidence file ({error}); run the audit again") from error
    except RobauditError as error:
        raise RobauditError(f"{path}: {error}") from error
    return Case(
        evidence=found,
        verdict=verdict,
        source=str(path),
        digest=digest,
        pictures=shown,
        surface=surface,
        data=summary(found, verdict),
    )


def _is_of(surface: Surface, evidence: Evidence) -> bool:
    """Whether a landscape is of the model that was audited."""
    try:
        return same_model(surface.about["model"], evidence.header.model)
    except (KeyError, TypeError, AttributeError):
        return False


def worst(rows: Sequence[WitnessRow], evidence: Evidence) -> list[WitnessRow]:
    """At most `SHOWN_WITNESSES` witnesses of different examples: first those of examples that PGD-10 left standing.

    Among these, Square's first, for nobody can blame their gradients, in the order of the audit.
    """
    standing = (
        set(evidence.ids[evidence.survives("pgd10")].tolist()) if "pgd10" in evidence.attacks else set()
    )
    order = ("square", "apgd-t", "apgd-dlr", "apgd-ce", "fab-t", "pgd10")
    rank = {name: place for place, name in enumerate(order)}
    ranked = sorted(rows, key=lambda row: (row.id not in standing, rank.get(row.attack, len(order))))
    chosen: dict[int, WitnessRow] = {}
    for row in ranked:
        if len(chosen) == SHOWN_WITNESSES:
            break
        chosen.setdefault(row.id, row)
    return list(chosen.values())


def _picture(row: WitnessRow, evidence: Evidence) -> Picture:
    channels, height, width = evidence.header.data["shape"]
    clean = decode_image(row.image, (channels, height, width))
    adversarial = decode_witness(row.witness, clean, evidence.header.plan.threat)
    prediction = int(evidence.predictions[evidence.ids == row.id][0])
    return Picture(
        attack=row.attack,
        id=row.id,
        label=row.label,
        prediction=prediction,
        answer=row.prediction,
        clean=clean,
        adversarial=adversarial,
    )


def class_name(case: Case, label: int | None) -> str:
    """The name of a class as its data set gives it, else its number; `?` where the class is not known."""
    if label is None:
        return "?"
    names = case.evidence.header.data.get("class_names") or []
    known = isinstance(names, list) and 0 <= label < len(names)
    return str(names[label]) if known else str(label)
