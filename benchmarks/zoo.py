"""Verdict, cause and cost of the default check on models whose truth is measured: the zoo, or checkpoints.

    python examples/zoo/build.py ZOO --data-dir DIR
    python benchmarks/zoo.py ZOO --work DIR [--data-dir DIR] [--only NAMES] [--truth 100] [--reference NAMES]
    python benchmarks/zoo.py ZOO --work DIR --table > docs/results/zoo.md
    python benchmarks/zoo.py --work DIR --data-dir DIR --checkpoint cifar10:FILE:8/255:published

More models than the zoo's are given by `--checkpoint DATASET:FILE:EPS:KIND`. For each there are three measurements,
kept in DIR and not made twice: the default check; the truth, every attack alone at the standard budget on `--truth`
examples (where it was not measured, that of the first examples of the check itself, which get the same); and for those
named by `--reference` the time of `pyautoattack` on some examples.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robaudit.audit import audit
from robaudit.errors import RobauditError
from robaudit.evidence import Evidence
from robaudit.inputs import Images, load_classifier, load_images
from robaudit.plan import AUTO_DRAWS, AuditPlan, ThreatModel, parse_fraction
from robaudit.reports import summary
from robaudit.verdict import judge

#: Of the audit that the cost of a verdict is held against.
WHOLE = 10_000
#: Draws of a randomised model for its truth, and the examples of that.
EOT, EOT_TRUTH = 10, 20
EPS = {"digits": 0.1, "mnist-half": 0.1, "cifar-small": 8 / 255}
#: The gaps from which robustness counts as overestimated: the defaults of `Bounds`.
OVER = {"pgd10-square": 0.08, "pgd10-autoattack": 0.10}
COLUMNS = (
    "model", "eps", "kind", "truth: PGD-10 − Square, − AutoAttack", "verdict", "causes found", "right cause",
    "examples", "passes", "of the full audit", "times faster",
)  # fmt: skip
HEAD = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|\n"


@dataclass(frozen=True)
class Case:
    """One model: what it was built as, and the findings of which any one names what was done to it."""

    name: str
    source: str
    dataset: str
    eps: float
    kind: str
    causes: tuple[str, ...]


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", type=Path, nargs="?", help="a folder that examples/zoo/build.py made")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--checkpoint", action="append", default=[], metavar="DATASET:FILE:EPS:KIND")
    parser.add_argument("--only", default="", help="comma separated names")
    parser.add_argument("--truth", type=int, default=100, help="examples of the truth")
    parser.add_argument("--reference", default="", help="names to time pyautoattack on, comma separated")
    parser.add_argument("--part", type=int, default=32, help="examples that it is timed on")
    parser.add_argument(
        "--parts", default="check,truth", help="which measurements are made where they are missing"
    )
    parser.add_argument("--table", action="store_true", help="measure nothing, print what there is")
    options = parser.parse_args()
    if options.zoo and not (options.zoo / "zoo.toml").is_file():
        parser.error(f"{options.zoo}: holds no zoo.toml; make a zoo with examples/zoo/build.py")
    options.work.mkdir(parents=True, exist_ok=True)
    cases = [
        *(zoo_cases(options.zoo) if options.zoo else []),
        *(checkpoint(text) for text in options.checkpoint),
    ]
    chosen = set(filter(None, options.only.split(",")))
    for case in cases:
        if not options.table and (not chosen or case.name in chosen):
            measure(case, options)
    print(table(cases, options.work), end="")


def zoo_cases(folder: Path) -> list[Case]:
    """The models of a zoo that build.py made; a defended one has its base's data and radius."""
    entries = {
        item["name"]: item
        for item in tomllib.loads((folder / "zoo.toml").read_text(encoding="utf-8"))["model"]
    }
    found = []
    for name, item in entries.items():
        base = entries[item["base"]] if "base" in item else item
        data = base["data"]
        found.append(
            Case(
                name, f"{folder / 'zoo.py'}:{name.replace('-', '_')}",
                data if data == "digits" else str(folder / f"{data}-test.npz"),
                item.get("eps", base.get("eps", EPS[data])), item.get("kind", "honest"),
                tuple(item.get("causes", ())),
            )
        )  # fmt: skip
    return found


def checkpoint(text: str) -> Case:
    """A published checkpoint."""
    dataset, path, eps, kind = text.split(":")
    return Case(f"{Path(path).name} {eps}", path, dataset, parse_fraction(eps), kind, ())


def place_of(case: Case, work: Path, part: str) -> Path:
    """Where a measurement is kept."""
    return work / f"{case.name.replace(' ', '_').replace('/', '_')}.{part}.json"


def measure(case: Case, options: argparse.Namespace) -> None:
    """The measurements of one model that are not there yet."""
    for part in options.parts.split(","):
        if part == "reference" and case.name not in options.reference.split(","):
            continue
        place = place_of(case, options.work, part)
        if place.exists():
            continue
        started = time.monotonic()
        try:
            found = PARTS[part](case, options, place.with_suffix(".evidence"))
        except RobauditError as error:
            found = {"error": str(error).splitlines()[0]}
        place.write_text(json.dumps(found), encoding="utf-8")
        print(f"{case.name}: {part} in {time.monotonic() - started:.0f} s", flush=True)


def load(case: Case, options: argparse.Namespace, limit: int | None) -> tuple[Any, Images]:
    """The classifier, of inputs in [0, 1], and the images."""
    images = load_images(case.dataset, data_dir=options.data_dir, seed=0)
    if ".py:" in case.source:
        classifier = load_classifier(case.source, images=images.subset(500, 0), normalise="none", force=True)
    else:
        classifier = load_classifier(case.source, images=images, force=True)
    return classifier, images.subset(limit, 0)


def run(
    case: Case, options: argparse.Namespace, path: Path, limit: int | None, examples: str
) -> dict[str, Any]:
    """One audit: its report, and how many examples it was of."""
    classifier, images = load(case, options, limit)
    whole = EOT if case.kind == "randomised" else 1
    plan = AuditPlan(
        ThreatModel("Linf", case.eps), examples=examples, limit=limit,  # type: ignore[arg-type]
        eot=AUTO_DRAWS if examples == "auto" else whole,
    )  # fmt: skip
    evidence: Evidence = audit(classifier, images, plan, path=path, force=True)
    return summary(evidence, judge(evidence)) | {"audited": len(evidence)}


def check(case: Case, options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """The default check."""
    return run(case, options, path, None, "auto")


def truth(case: Case, options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Every attack alone on every example, at the standard budget."""
    return run(case, options, path, EOT_TRUTH if case.kind == "randomised" else options.truth, "all")


def reference(case: Case, options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Seconds of pyautoattack's standard version on some examples, and how many of them it leaves."""
    import pyautoattack  # noqa: PLC0415  # slow to import

    classifier, images = load(case, options, options.part)
    x, y = images.float(), images.labels
    started = time.monotonic()
    adversary = pyautoattack.AutoAttack(
        classifier, norm="Linf", eps=case.eps, seed=0, version="standard", device=torch.device("cpu")
    )
    x_adv, _ = adversary.run_standard_evaluation(x, y, batch_size=250)
    robust = int((classifier(x_adv).argmax(1) == y).sum())
    return {"seconds": time.monotonic() - started, "examples": len(y), "robust": robust}


PARTS = {"check": check, "truth": truth, "reference": reference}


def table(cases: list[Case], work: Path) -> str:
    """The rows of all models that were measured, and what they come to."""
    text, tallies = HEAD, list[dict[str, Any]]()
    for case in cases:
        parts = {}
        for part in PARTS:
            place = place_of(case, work, part)
            if place.exists():
                parts[part] = json.loads(place.read_text(encoding="utf-8"))
        if "error" in parts.get("check", {}):
            why = parts["check"]["error"]
            text += f"| {case.name} | {case.eps:.3g} | {case.kind} | | could not audit: {why} |||||||\n"
        elif "check" in parts:
            line, tally = row(case, parts)
            text, tallies = text + line, [*tallies, tally]
    return text + "\n" + outcome(tallies)


def row(case: Case, parts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """One line, and what it counts for."""
    found = parts["check"]
    true = parts.get("truth", found)
    spent = found["cost"]["forwards"] + found["cost"]["backwards"]
    whole = true["cost"]["whole"]
    full = (whole["forwards"] + whole["backwards"]) * WHOLE / whole["examples"]
    answer, gaps = found["verdict"]["outcome"], true["gap"]
    truly = any(gaps[name]["value"] >= bound for name, bound in OVER.items())
    sure = any(gaps[name]["low"] >= bound for name, bound in OVER.items()) or all(
        gaps[name]["high"] < bound for name, bound in OVER.items()
    )
    codes = [item["code"] for item in found["verdict"]["causes"]]
    right = (
        bool(set(codes) & set(case.causes)) if case.causes and (truly or case.kind == "randomised") else None
    )
    faster = None
    if "reference" in parts:
        part = parts["reference"]
        faster = part["seconds"] / part["examples"] * WHOLE / found["cost"]["seconds"]
    values = ", ".join(f"{100 * gaps[name]['value']:+.0f}" for name in OVER)
    of = min(gaps[name]["n"] for name in OVER)
    judged = f"{'over' if truly else 'not over'}{'' if sure else ', close'}; {of} examples"
    judged += "" if "truth" in parts else " of its own"
    cells = [
        case.name, f"{case.eps:.3g}", case.kind, f"{values} ({judged})", answer, ", ".join(codes),
        {True: "yes", False: "NO", None: ""}[right], str(found["verdict"]["decided_after"]), f"{spent:,}",
        f"{100 * spent / full:.2f} %", f"{faster:.0f}" if faster else "",
    ]  # fmt: skip
    wrong = answer != "inconclusive" and (answer == "overestimated") != truly
    tally = {
        "name": case.name, "truly": truly, "sure": sure, "wrong": wrong, "open": answer == "inconclusive",
        "right": right, "share": spent / full, "faster": faster,
    }  # fmt: skip
    return "| " + " | ".join(cells) + " |\n", tally


def outcome(tallies: list[dict[str, Any]]) -> str:
    """What the table comes to."""
    lines = [f"{len(tallies)} models."]
    wrong = [f"{item['name']}{'' if item['sure'] else ' (truth close)'}" for item in tallies if item["wrong"]]
    lines.append(f"Verdicts against the measured truth: {', '.join(wrong) or 'none'}.")
    lines.append(f"Inconclusive: {', '.join(item['name'] for item in tallies if item['open']) or 'none'}.")
    judged = [item["right"] for item in tallies if item["right"] is not None]
    if judged:
        lines.append(
            f"Right cause: {sum(judged)} of {len(judged)} ({100 * sum(judged) / len(judged):.0f} %)."
        )
    for word, kind in (("overestimated", True), ("not overestimated", False)):
        shares = [item["share"] for item in tallies if item["truly"] == kind]
        if shares:
            lines.append(
                f"Cost of a verdict where the truth is {word}: median {100 * statistics.median(shares):.2f} % of the "
                f"full audit of {WHOLE:,} examples, most {100 * max(shares):.2f} % ({len(shares)} models)."
            )
    faster = [item["faster"] for item in tallies if item["faster"]]
    if faster:
        lines.append(
            f"Faster than pyautoattack on {WHOLE:,} examples, extrapolated from the part that was timed: "
            f"{min(faster):.0f} to {max(faster):.0f} times, median {statistics.median(faster):.0f} "
            f"({len(faster)} models)."
        )
    return "\n".join(f"- {line}" for line in lines) + "\n"


if __name__ == "__main__":
    main()
