"""Four ways to tell that PGD-10's robust accuracy is too high, on networks whose truth is measured.

    python benchmarks/zoo.py ZOO --work DIR ...                    first: our verdicts and the truth
    python benchmarks/detectors.py ZOO --work DIR [--data-dir DIR] [--checkpoint DATASET:FILE:EPS:KIND] > TABLE.md

- `robaudit check`: its verdict with default settings; one that is left open because PGD-10 fails for reasons of its own
  names the network as masked too.
- indicators: any of the six indicators of attack failure (Pintor et al. 2022, https://arxiv.org/abs/2106.09947)
  but incomplete optimisation reaches 10 % of PGD-10's failures, and 3 examples of 48.
- two of three: of the signs of Athalye et al. 2018 (https://arxiv.org/abs/1802.00420, Section 3.1): one step breaks
  more than ten, random noise breaks what PGD-10 does not, PGD without a bound leaves some standing; 48 examples.
- plain gap: PGD-10 minus AutoAttack, every attack in full on the examples of the truth, of at least 10 points. Its
  seconds are what it costs; it is right by definition wherever the truth is that of the same examples.

The truth of a network is that of `zoo.py`: whether stronger attacks leave so much less. Networks with a defence that
does not make PGD-10's number wrong by so much are listed and not counted: to call them masked is not wrong either.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
import zoo

from robaudit.attacks import Examples, forward
from robaudit.audit.probes import PROBE_EXAMPLES, probe, summed_up
from robaudit.engine import Engine
from robaudit.errors import RobauditError
from robaudit.fast import Averaged
from robaudit.plan import ThreatModel
from robaudit.verdict import failure_alarms

WAYS = ("robaudit check", "indicators", "two of three", "plain gap")


def main() -> None:
    """Probe what was checked and not probed yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", type=Path, nargs="?", help="a folder that examples/zoo/build.py made")
    parser.add_argument(
        "--work", type=Path, required=True, help="where benchmarks/zoo.py keeps its measurements"
    )
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--checkpoint", action="append", default=[], metavar="DATASET:FILE:EPS:KIND")
    options = parser.parse_args()
    cases = [
        *(zoo.zoo_cases(options.zoo) if options.zoo else []),
        *(zoo.checkpoint(text) for text in options.checkpoint),
    ]
    rows = []
    measured = [case for case in cases if zoo.place_of(case, options.work, "check").exists()]
    for case in measured:
        parts = {part: zoo.place_of(case, options.work, part) for part in ("check", "truth", "probes")}
        if not parts["probes"].exists():
            parts["probes"].write_text(json.dumps(probes(case, options)), encoding="utf-8")
        found = {
            part: json.loads(path.read_text(encoding="utf-8"))
            for part, path in parts.items()
            if path.exists()
        }
        rows.append(row(case, found))
    left_out = [case.name for case in cases if case not in measured]
    print(table(rows), end="")
    if left_out:
        print(f"\nNot measured: {', '.join(left_out)}.")


def probes(case: zoo.Case, options: argparse.Namespace) -> dict[str, Any]:
    """What the probes say of the first examples, and the seconds that took, loading excluded."""
    try:
        classifier, images = zoo.load(case, options, 500)
    except RobauditError as error:
        return {"error": str(error).splitlines()[0]}
    model = Averaged(classifier, zoo.EOT, 0, "judge") if case.kind == "randomised" else classifier
    started = time.monotonic()
    x = images.float(slice(0, 2 * PROBE_EXAMPLES))
    logits = forward(model, x)
    right = (logits.argmax(1) == images.labels[: len(x)]).nonzero().squeeze(1)[:PROBE_EXAMPLES]
    examples = Examples(x[right], images.labels[right], images.ids[right], logits[right])

    def engine(threat: ThreatModel) -> Engine:
        return Engine(model, model, threat, 64, torch.device("cpu"))

    found = summed_up(probe(engine, examples, ThreatModel("Linf", case.eps), 0))
    return found | {"seconds": time.monotonic() - started}


def two_of_three(found: dict[str, Any]) -> bool:
    """Whether at least two of the three signs are there."""
    signs = (found["fgsm"] < found["pgd10"], found["only_noise"] > 0, found["unbounded"] > 0)
    return sum(signs) >= 2


def row(case: zoo.Case, found: dict[str, Any]) -> dict[str, Any]:
    """What each way says of one network (None: no answer), the seconds, and the truth (None: not counted)."""
    check, truth, probed = found.get("check", {}), found.get("truth", found.get("check", {})), found["probes"]
    answers: dict[str, bool | None] = dict.fromkeys(WAYS)
    seconds: dict[str, float | None] = dict.fromkeys(WAYS)
    over = None
    if "verdict" in check:
        codes = {item["code"] for item in check["verdict"]["causes"]}
        outcome = check["verdict"]["outcome"]
        unclear = outcome == "inconclusive" and "pgd-attack-fails" not in codes
        answers["robaudit check"] = None if unclear else outcome != "not-overestimated"
        seconds["robaudit check"] = check["cost"]["seconds"]
    if "gap" in truth:
        over = any(truth["gap"][name]["value"] >= bound for name, bound in zoo.OVER.items())
        if "truth" in found:
            answers["plain gap"] = truth["gap"]["pgd10-autoattack"]["value"] >= zoo.OVER["pgd10-autoattack"]
            seconds["plain gap"] = truth["cost"]["seconds"]
    if "error" not in probed:
        answers |= {"indicators": bool(failure_alarms(probed)), "two of three": two_of_three(probed)}
        seconds |= {"indicators": probed["seconds"], "two of three": probed["seconds"]}
    counted = over if over or case.kind in {"honest", "published"} else None
    return {
        "name": case.name, "kind": case.kind, "over": over, "counted": counted, "answers": answers, "seconds": seconds,
        "alarms": failure_alarms(probed) if "error" not in probed else {},
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """A line a network, and what each way comes to."""
    text = "| network | built | truth | " + " | ".join(WAYS) + " | indicators that alarm |\n"
    text += "|---" * (len(WAYS) + 4) + "|\n"
    for item in rows:
        truth = {True: "over", False: "not over", None: "not measured"}[item["over"]]
        cells = [
            {True: "masked", False: "–", None: "no answer"}[item["answers"][way]]
            + _took(item["seconds"][way])
            for way in WAYS
        ]
        named = ", ".join(f"`{name}` {100 * value:.0f} %" for name, value in item["alarms"].items())
        text += f"| {item['name']} | {item['kind']} | {truth} | " + " | ".join(cells) + f" | {named} |\n"
    counted = [item for item in rows if item["counted"] is not None]
    text += f"\nOf the {len(counted)} counted:\n\n| | right | missed | false alarms | no answer | seconds, median |\n"
    text += "|---|---|---|---|---|---|\n"
    for way in WAYS:
        pairs = [(item["answers"][way], item["counted"]) for item in counted]
        took = sorted(item["seconds"][way] for item in counted if item["seconds"][way] is not None)
        text += (
            f"| {way} | {sum(a == b for a, b in pairs)} | {pairs.count((False, True))} | {pairs.count((True, False))} "
            f"| {sum(a is None for a, _ in pairs)} | {f'{took[len(took) // 2]:.0f}' if took else ''} |\n"
        )
    return text


def _took(seconds: float | None) -> str:
    return "" if seconds is None else f", {seconds:.0f} s"


if __name__ == "__main__":
    main()
