"""The report as SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/), for code scanning."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import robaudit
from robaudit.escaping import json_text, plain
from robaudit.reports.case import Case, Failure
from robaudit.reports.formatting import claim_text, minimum_text
from robaudit.verdict import ADVICE, DOCUMENTATION, pages

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
#: Rules beside the findings: what the gate itself may say.
_VERDICTS: dict[str, tuple[str, str, str]] = {
    "overestimated": (
        "error",
        "The usual test reports more robust accuracy than stands up.",
        "Report the accuracy that the stronger attack leaves, and retrain.",
    ),
    "inconclusive": (
        "warning",
        "The examples do not settle whether the robustness is overestimated.",
        "Audit more examples, or resolve what the preflight check found.",
    ),
    "claim-refuted": (
        "error",
        "The model is less robust than was claimed.",
        "Correct the claim or the model.",
    ),
    "below-minimum": (
        "error",
        "The model is less robust than the policy demands.",
        "Fix the model, or the policy.",
    ),
    "could-not-audit": (
        "error",
        "The checkpoint could not be audited.",
        "Correct the file, the data set or the flags, and run again.",
    ),
}


def sarif(cases: Sequence[Case | Failure]) -> str:
    """A SARIF log of one run; every result points at its checkpoint."""
    results = [result for item in cases for result in results_of(item)]
    used = sorted({result["ruleId"] for result in results})
    rules = [_rule(code) for code in used]
    for result in results:
        result["ruleIndex"] = used.index(result["ruleId"])
    run = {
        "tool": {"driver": {
            "name": "robaudit", "version": robaudit.__version__, "informationUri": DOCUMENTATION, "rules": rules,
        }},
        "invocations": [{"executionSuccessful": not any(isinstance(item, Failure) for item in cases)}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }  # fmt: skip
    return json_text({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(code: str) -> dict[str, Any]:
    """What a code means: of a finding its entry in the documentation, of a verdict where reports are explained."""
    page = pages().get(code)
    level, sentence, advice = _VERDICTS.get(
        code, ("warning", "A finding of a later version.", "See the report.")
    )
    if page:
        level, sentence = ADVICE[code][0], page.sentence
    return {
        "id": code,
        "shortDescription": {"text": sentence},
        "fullDescription": {"text": page.meaning if page else f"{sentence} {advice}"},
        "help": {
            "text": f"Raised when {page.raised} What to do: {page.advice}" if page else advice,
            "markdown": page.text if page else advice,
        },
        "helpUri": page.url if page else f"{DOCUMENTATION}/reading.md",
        "defaultConfiguration": {"level": level},
    }


def results_of(item: Case | Failure) -> list[dict[str, Any]]:
    """What was found of one checkpoint, as SARIF's results."""
    if isinstance(item, Failure):
        return [_result(item.name, "could-not-audit", "error", item.error)]
    data = item.data
    verdict = data["verdict"]
    found = []
    if verdict["outcome"] in _VERDICTS:
        code = verdict["outcome"]
        found.append(
            _result(
                item.name, code, _VERDICTS[code][0], f"{data['headline']['sentence']} {verdict['summary']}"
            )
        )
    if data["claim"] and data["claim"]["outcome"] == "refuted":
        found.append(_result(item.name, "claim-refuted", "error", claim_text(data["claim"])))
    if data["minimum"] and data["minimum"]["outcome"] == "refuted":
        found.append(_result(item.name, "below-minimum", "error", minimum_text(data["minimum"])))
    for asked, text_of in ((data["minimum"], minimum_text), (data["claim"], claim_text)):
        if (
            asked
            and asked["outcome"] == "inconclusive"
            and not any(r["ruleId"] == "inconclusive" for r in found)
        ):
            found.append(_result(item.name, "inconclusive", "warning", text_of(asked)))
    for cause in verdict["causes"]:
        text = f"{cause['message']} {cause['advice']}"
        found.append(_result(item.name, plain(cause["code"]), cause["severity"], text))
    for result in found:
        if result["ruleId"] in item.ignored:
            why = plain(f"ignored {item.ignored[result['ruleId']]}")
            result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": why}]
        result["properties"] = {
            "sha256": data["model"]["sha256"],
            "digest": data["model"].get("digest", ""),
            "accuracy": {row["name"]: row["value"] for row in data["table"]["rows"]},
            "examples": data["table"]["examples"],
        }
    return found


def _result(model: str, code: str, level: str, text: str) -> dict[str, Any]:
    print_of = hashlib.sha256(f"{code}\0{model}".encode(errors="surrogatepass")).hexdigest()[:32]
    return {
        "ruleId": code,
        "level": level,
        "message": {"text": plain(text)},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": _uri(model)}, "region": {"startLine": 1}}}
        ],
        "partialFingerprints": {"robaudit/v1": print_of},
    }


def codes_of(case: Case) -> set[str]:
    """The codes of what was found of a checkpoint."""
    return {result["ruleId"] for result in results_of(case)}


def repository_path(path: str) -> str:
    """A path relative to the repository that this runs in if it lies there, as plain text.

    CI systems look for it from the root, wherever the policy or the working directory is. What is not a path
    (`hf:OWNER/NAME`) stays as it stands.
    """
    text = plain(path)
    if ":" in text:
        return text
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)
    place = Path(os.path.normpath(here / text))
    return (place.relative_to(root) if place.is_relative_to(root) else place).as_posix()


def _uri(path: str) -> str:
    """A path as a URI relative to the repository that this runs in, else a file URI."""
    text = repository_path(path)
    quoted = quote(text, safe="/")
    return f"file://{quoted}" if PurePath(text).is_absolute() else quoted
