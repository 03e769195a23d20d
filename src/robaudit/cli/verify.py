"""`robaudit verify`: re-check somebody's evidence."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import typer

from robaudit.cli.asked import check_present, check_structure
from robaudit.cli.audited import load_audited
from robaudit.cli.common import (
    TRUST_HELP,
    check_apart,
    check_order,
    check_writable,
    console,
    exit_code,
    write_text,
)
from robaudit.cli.data import DataRequest, check_device
from robaudit.datasets import IN_MEMORY
from robaudit.errors import RobauditError
from robaudit.escaping import json_text, plain
from robaudit.plan import Engine, title
from robaudit.spelling import unknown

if TYPE_CHECKING:
    from robaudit.audit import Recomputation, Verification
    from robaudit.evidence import Header
    from robaudit.inputs import Images

_SHOWN = 20


def verify(
    evidence: Path = typer.Argument(..., help="Evidence file."),
    model: str = typer.Argument(..., help="The checkpoint that was audited."),
    dataset: str | None = typer.Option(
        None, help="The data set that was audited: all clean predictions and images are compared too."
    ),
    data_dir: Path | None = typer.Option(None, help="Where named data sets lie."),
    image_size: str | None = typer.Option(None, help="As for check, of a folder of pictures."),
    recompute: int = typer.Option(
        0, min=0, help="Attack this many of the survivors again, chosen by chance; needs --dataset."
    ),
    recompute_seed: int | None = typer.Option(
        None,
        min=0,
        help="Choose the survivors that an earlier call chose; by default they are chosen afresh.",
    ),
    engine: str = typer.Option(
        "robaudit",
        help="Whose attacks --recompute uses: robaudit, or reference, the unmodified pyautoattack.",
    ),
    arch: str | None = typer.Option(None, help="As for check; by default what the evidence says."),
    normalise: str | None = typer.Option(None, help="As for check; by default what the evidence says."),
    key: str | None = typer.Option(None, help="As for check; by default what the evidence says."),
    trust_program: bool = typer.Option(False, "--trust-program", help=TRUST_HELP),
    device: str = typer.Option("auto", help="auto, cpu, cuda …"),
    json_path: str | None = typer.Option(None, "--json", help="Write what was checked as JSON."),
) -> int:
    """Check evidence, and say what it proves and what it only says.

    A witness proves that an example is not robust. That the others survived is the file's word, as far as
    --recompute has not attacked them again.

    Exit codes: those of the verdict that the evidence carries; 2 when something in the file is not true.

    Example: robaudit verify model.evidence model.pt --dataset cifar10 --recompute 16
    """
    check_present(model)
    check_order(evidence, model)
    check_writable(json_path)
    check_apart(inputs=[evidence, model, dataset, arch], json=json_path)
    if engine not in ("robaudit", "reference"):
        raise RobauditError(unknown("engine", engine, get_args(Engine)))
    if dataset:
        DataRequest(dataset, data_dir).check()
    check_structure(arch, normalise, dataset)
    check_device(device)
    if recompute and dataset is None:
        raise RobauditError(f"recompute {recompute}: needs the clean images; pass --dataset")
    from robaudit.audit import Recompute
    from robaudit.audit import verify as check_evidence
    from robaudit.devices import pick_device
    from robaudit.evidence import EvidenceFile
    from robaudit.reports import asked_texts, headline, summary
    from robaudit.verdict import judge

    with EvidenceFile.open(evidence) as file:
        found = file.read()
    header = found.header
    given = {"arch": arch, "normalise": normalise, "key": key}
    classifier = load_audited(model, header, evidence, given, trust_program=trust_program)
    seed = secrets.randbits(32) if recompute_seed is None else recompute_seed
    again = Recompute(recompute, seed, engine)  # type: ignore[arg-type]
    images = None if dataset is None else images_of(header, dataset, data_dir, model, image_size)
    result = check_evidence(evidence, classifier, pick_device(device), images, again)
    if json_path:
        write_text(json_path, _as_json(result))
    out = console()
    if result.failures:
        wrong = (
            f"{result.bad} of {result.witnesses} witnesses FAIL" if result.bad else "Holds what is NOT true"
        )
        out.print(f"{wrong}, {len(result.failures)} findings in all:", style="bold red")
        for line in result.failures[:_SHOWN]:
            out.print(plain(line), markup=False, soft_wrap=True)
        return 2
    if not header.finished:
        out.print("The audit is unfinished.", style="bold")
    for line in summary_lines(result, header):
        out.print(line, markup=False, soft_wrap=True)
    verdict = judge(found)
    said = [headline(found), f"{verdict.outcome}.", verdict.summary, *asked_texts(summary(found, verdict))]
    out.print(plain(f"The evidence says: {' '.join(said)}"), markup=False)
    return exit_code(verdict)


def images_of(
    header: Header, dataset: str, data_dir: Path | None, model: str, image_size: str | None = None
) -> Images:
    """The whole split that evidence is about, in the order of its seed, as `check` made it for the model.

    Raises:
        RobauditError: it is about images that a script had in memory, or the data set cannot be read.

    """
    split, seed = str(header.data["split"]), header.plan.seed
    if split == IN_MEMORY:
        raise RobauditError(
            f"dataset {dataset}: the evidence is about images that a script gave, not about a named data set; leave "
            "--dataset out"
        )
    return DataRequest(dataset, data_dir, split, seed, image_size=image_size, models=(model,)).load()


def summary_lines(result: Verification, header: Header) -> list[str]:
    """What is proven, what was repeated, and what is only said, a sentence each."""
    lines = [
        f"{result.witnesses} of {result.witnesses} witnesses hold: {result.witnesses} breaks are proven."
    ]
    if result.with_data:
        lines.append(
            f"All {result.examples} examples are the data set's, and their clean predictions the model's own."
        )
    else:
        lines.append(
            f"{result.predictions} of {result.examples} clean predictions are the model's own; the others, and the "
            "examples themselves, are the file's word (--dataset compares them)."
        )
    if result.doubtful:
        lines.append(f"Of AutoAttack's survivors that another attack breaks: {repeated(result.doubtful)}.")
    again = made_again(result)
    lines += [f"{repeated(part, what)}. {assurance(part)}" for part, what in again]
    if not again:
        lines.append(
            f"That {result.survivors} attacks found nothing is the file's word: none of them was made again "
            "(--recompute does)."
        )
    claimed = ["what PGD-10's trajectories and the probes gave"]
    claimed += ["robust accuracy at other radii"] if header.eps_curve else []
    claimed += [f"what survived {title(name)}, which needs the other model" for name in header.plan.helpers]
    lines.append(f"Not verified: {', '.join(claimed)}, the cost, the device.")
    return lines


def made_again(result: Verification) -> list[tuple[Recomputation, str]]:
    """What was made again by chance, and what to call it."""
    parts = (
        (result.recomputed, "survivors" if result.waiting is None else "drawn survivors"),
        (result.waiting, "other survivors"),
        (result.pgd, "breaks of PGD-10"),
        (result.measured, "breaks of Square or of an attack that is claimed"),
        (result.short, "breaks of short attacks"),
    )
    return [(part, what) for part, what in parts if part]


def repeated(found: Recomputation, what: str = "survivors") -> str:
    """How many pairs were attacked again, and what came of it."""
    stands, close = len(found.of("stands")), found.of("close")
    whose = "by pyautoattack" if found.engine == "reference" else "as planned"
    text = (
        f"{len(found.pairs)} of {found.among} {what} were attacked again {whose} (seed {found.seed}): "
        f"{stands} stand"
    )
    if close:
        reason = "its other random draws" if found.engine == "reference" else "rounding decides"
        text += f", {len(close)} do not ({reason}: {', '.join(map(str, close[:3]))})"
    return text


def assurance(found: Recomputation) -> str:
    """What a pass means."""
    from robaudit.audit import CONFIDENCE

    if not found.found_share:
        return "That was every one of them."
    return (
        f"Had more than {100 * found.found_share:.0f} % of them been forged, it would have been found with "
        f"probability {CONFIDENCE:g}."
    )


def _as_json(result: Verification) -> str:
    data = asdict(result)
    for name in ("doubtful", "recomputed", "waiting", "pgd", "measured", "short"):
        part = getattr(result, name)
        if part:
            data[name]["found_share"] = part.found_share
    return json_text({"schema": "robaudit-verify/1", **data})
