"""`robaudit verify`: re-check somebody's evidence."""

from __future__ import annotations

from pathlib import Path

import typer

from robaudit.cli.audited import load_audited
from robaudit.cli.common import check_present, console, exit_code


def verify(
    evidence: Path = typer.Argument(..., help="Evidence file."),
    model: str = typer.Argument(..., help="The checkpoint that was audited."),
    arch: str | None = typer.Option(None, help="As for check; by default what the evidence says."),
    normalise: str | None = typer.Option(None, help="As for check; by default what the evidence says."),
    key: str | None = typer.Option(None, help="As for check."),
    device: str = typer.Option("auto", help="auto, cpu, cuda …"),
) -> int:
    """Re-check every witness with one strict float32 pass, and say what they prove.

    Exit codes: those of the verdict that the evidence carries; 2 when a witness fails.

    Example: robaudit verify model.evidence model.pt
    """
    check_present(model)
    from robaudit.audit import verify as recheck
    from robaudit.devices import pick_device
    from robaudit.evidence import EvidenceFile
    from robaudit.verdict import judge

    with EvidenceFile.open(evidence) as file:
        header = file.header()
    classifier = load_audited(model, header, evidence, arch=arch, normalise=normalise, key=key)
    result = recheck(evidence, classifier, pick_device(device))
    out = console()
    if result.failures:
        out.print(f"{len(result.failures)} of {result.witnesses} witnesses FAIL", style="bold red")
        for line in result.failures[:20]:
            out.print(line, markup=False)
        return 2
    with EvidenceFile.open(evidence) as file:
        verdict = judge(file.read())
    out.print(f"{result.witnesses} of {result.witnesses} witnesses hold.", style="bold")
    out.print(f"The evidence says: {verdict.outcome}. {verdict.summary}", markup=False)
    return exit_code(verdict)
