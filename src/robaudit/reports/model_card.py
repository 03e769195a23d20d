"""The report as a section of a Hugging Face model card, with `model-index` metadata that its hub reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robaudit.errors import RobauditError
from robaudit.escaping import plain
from robaudit.reports.case import Case
from robaudit.reports.formatting import eps_text
from robaudit.reports.markdown import markdown
from robaudit.wording import examples


def model_card(case: Case) -> str:
    """Metadata in YAML, then the Markdown report; an unfinished row or a gap is not a metric of a model and left out.

    Raises:
        RobauditError: huggingface_hub is not installed.

    """
    try:
        from huggingface_hub import EvalResult, ModelCardData  # noqa: PLC0415  an extra
    except ImportError as error:
        raise RobauditError(
            "model-card: huggingface_hub is not installed; pip install 'robaudit[hub]'"
        ) from error
    data = case.data
    images, threat = data["data"], data["threat"]
    under = f"{plain(threat['norm'])} eps {eps_text(threat['eps'])}"
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=plain(images["name"]),
            dataset_name=plain(images["name"]),
            dataset_split=plain(images["split"]),
            metric_type="accuracy",
            metric_name=_metric(row, under),
            metric_value=round(100 * row["value"], 2),
        )
        for row in data["table"]["rows"]
    ]
    name = plain(Path(case.name).stem) or "model"
    tags = ["adversarial-robustness", "robaudit"]
    head = ModelCardData(model_name=name, eval_results=results, tags=tags).to_yaml()
    return f"---\n{head}\n---\n\n# Adversarial robustness\n\n{markdown([case])}"


def _metric(row: dict[str, Any], under: str) -> str:
    if row["name"] == "clean":
        return f"Clean accuracy (%), {examples(row['n'])}"
    return f"Robust accuracy under {row['title']} (%), {under}, {examples(row['n'])}"
