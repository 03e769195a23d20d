"""`robaudit demo`: two audits with opposite verdicts, nothing to download."""

from __future__ import annotations

from pathlib import Path

import typer

from robaudit.cli.common import console
from robaudit.plan import AuditPlan, ThreatModel

#: Both checkpoints are made by `scripts/train_demo.py`.
EPS = 0.1
MODELS = {
    "digits_adversarial.safetensors": ("adversarially trained", "not-overestimated"),
    "digits_distilled.safetensors": ("defensively distilled", "overestimated"),
}


def demo(
    seed: int = typer.Option(0, help="Fixes the order of the examples and every draw."),
) -> int:
    """Audit two small shipped checkpoints of handwritten digits: one honest, one masked.

    Exit code 0 only when the first comes out not-overestimated and the second overestimated.
    """
    import tempfile
    from importlib import resources

    from robaudit.audit import audit, progress_bars
    from robaudit.inputs import load_classifier, load_images
    from robaudit.reports import terminal
    from robaudit.verdict import judge

    out = console()
    images = load_images("digits", seed=seed)
    plan = AuditPlan(ThreatModel("Linf", EPS), seed=seed)
    lines, as_expected = [], True
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, expected) in MODELS.items():
            with resources.as_file(resources.files("robaudit") / "assets" / name) as path:
                classifier = load_classifier(str(path), images=images)
            with progress_bars() as bars:
                found = audit(classifier, images, plan, path=Path(folder) / f"{name}.evidence", progress=bars)
            verdict = judge(found)
            out.print(terminal(found, verdict))
            out.print()
            as_expected &= verdict.outcome == expected
            lines.append(
                f"{name} ({kind}): {verdict.outcome}" + ("" if verdict.outcome == expected else " ?!")
            )
    for line in lines:
        out.print(line, markup=False)
    out.print("As expected." if as_expected else "NOT as expected; please report this.")
    return 0 if as_expected else 2
