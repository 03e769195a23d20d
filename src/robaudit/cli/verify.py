"""`robaudit verify`: re-check somebody's evidence."""

from __future__ import annotations

from pathlib import Path

import typer

from robaudit.cli.common import (
    TRUST_HELP,
    check_order,
    check_present,
    console,
    exit_code,
    image_classes,
    image_shape,
)
from robaudit.errors import RobauditError
from robaudit.escaping import plain


def verify(
    evidence: Path = typer.Argument(..., help="Evidence file."),
    model: str = typer.Argument(..., help="The checkpoint that was audited."),
    arch: str | None = typer.Option(None, help="As for check; by default what the evidence says."),
    normalise: str | None = typer.Option(None, help="As for check; by default what the evidence says."),
    key: str | None = typer.Option(None, help="As for check."),
    trust_program: bool = typer.Option(False, "--trust-program", help=TRUST_HELP),
    device: str = typer.Option("auto", help="auto, cpu, cuda …"),
) -> int:
    """Re-check every witness with one strict float32 pass, and say what they prove.

    Exit codes: those of the verdict that the evidence carries; 2 when a witness fails.

    Example: robaudit verify model.evidence model.pt
    """
    check_present(model)
    check_order(evidence, model)
    from robaudit.audit import expect_model
    from robaudit.audit import verify as recheck
    from robaudit.devices import pick_device
    from robaudit.evidence import EvidenceFile
    from robaudit.inputs import file_sha256, is_factory, load_classifier
    from robaudit.verdict import judge

    with EvidenceFile.open(evidence) as file:
        header = file.header()
    recorded = header.model["architecture"]
    if arch is None and is_factory(recorded):
        raise RobauditError(
            f"{evidence}: was made with code of its own ({recorded}), which is never run on a file's word; "
            "read that code and pass --arch"
        )
    if Path(model).is_file():  # before another model's structure is put to this file
        expect_model(header, model, file_sha256(Path(model)))
    classifier = load_classifier(
        model,
        arch=arch or recorded,
        normalise=normalise or header.model["normalisation"],
        key=key or header.model.get("key"),
        shape=image_shape(header),
        classes=image_classes(header),
        trust_program=trust_program,
    )
    result = recheck(evidence, classifier, pick_device(device))
    out = console()
    if result.failures:
        out.print(f"{len(result.failures)} of {result.witnesses} witnesses FAIL", style="bold red")
        for line in result.failures[:20]:
            out.print(plain(line), markup=False)
        return 2
    with EvidenceFile.open(evidence) as file:
        verdict = judge(file.read())
    out.print(f"{result.witnesses} of {result.witnesses} witnesses hold.", style="bold")
    out.print(plain(f"The evidence says: {verdict.outcome}. {verdict.summary}"), markup=False)
    return exit_code(verdict)
