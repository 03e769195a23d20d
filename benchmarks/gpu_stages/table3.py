"""The stage `table3`: what every attack leaves of the runs of `collapse`, beside the paper's tables."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gpu_stages import audits, bundles, pieces, weights
from gpu_stages.calls import Call
from gpu_stages.deadline import Deadline, TimeIsUp
from gpu_stages.results import RESULTS, Results
from gpu_stages.table3_table import table3_table
from robaudit.devices import describe
from robaudit.errors import RobauditError
from robaudit.inputs import Images, file_sha256, load_classifier, load_images
from robaudit.plan import STANDARD_ATTACKS, AuditPlan, Budget, ThreatModel

#: Every attack of Table 1.
ATTACKS = (*STANDARD_ATTACKS, "apgd-dlr")


@dataclass(frozen=True)
class Sizes:
    """Examples of each stretch, small first so that the next can be forecast, and the attacks' budgets."""

    stretches: tuple[int, ...] = (100, 300, 600)
    budget: Budget = field(default_factory=Budget)


DRY = Sizes((4, 8), Budget(pgd_steps=2, apgd_steps=2, fab_steps=2, targets=2, square_queries=10))


def table3(call: Call) -> None:
    """Every attack on each run's best checkpoint, on 1,000 examples or as many as fit, beside the paper's tables."""
    sizes = DRY if call.dry_run else Sizes()
    found = checkpoints(call.runs or call.out.parent / "collapse", call.scratch)
    folder = call.data(cifar100=("test",))
    images = load_images("cifar100", data_dir=folder, limit=sum(sizes.stretches), seed=call.seed)
    facts = {
        "checkpoints": {name: file_sha256(path) for name, (path, _) in found.items()},
        "stretches": sizes.stretches,
        "budget": vars(sizes.budget),
        "data": images.sha256,
    }
    results, deadline = call.open("table3", facts)
    stage = Stage(call, sizes, images, results, deadline)
    try:
        # All checkpoints on the same examples before any is on more.
        for number in range(len(sizes.stretches)):
            for name, (path, _) in found.items():
                if f"{name} {number}" not in results.parts:
                    results.attempt(f"{name} {number}", partial(stage.part, name, path, number))
    except TimeIsUp:
        print("the time is over: a later call with the same --out resumes it")
    results.say(table3_table({name: title for name, (_, title) in found.items()}, results.parts))


def checkpoints(folder: Path, scratch: Path) -> dict[str, tuple[Path, str]]:
    """What `collapse` left in `folder`: files that can be loaded, and what each is.

    Of the unstable run the masked weights, and those of its best epoch where that is another. "Best" is by PGD-10 on
    the validation examples, as in the paper.

    Raises:
        RobauditError: there are none.

    """
    try:
        parts = json.loads((folder / RESULTS).read_text(encoding="utf-8"))["parts"]
    except (OSError, ValueError, KeyError) as error:
        raise RobauditError(
            f"{folder}: holds no results of `collapse`; pass its --out with --runs"
        ) from error
    run = parts.get("unstable", {})
    if not run.get("masked_epoch"):
        epochs = len(run.get("rows", []))
        raise RobauditError(f"{folder}: no epoch is masked yet ({epochs} so far); resume `collapse`")
    masked, best = run["masked_epoch"], run["best_epoch"]
    titles = {"masked": f"TRADES, masked epoch {masked}" + ", its best" * (best == masked)}
    if best != masked:
        titles["healthy" if best == run["healthy_epoch"] else "unstable"] = f"TRADES, best epoch {best}"
    for name, title in (("paper", "--heal=paper"), ("auto", "--heal")):
        titles[name] = f"{title}, {parts.get(name, {}).get('weights_of', 'open')}"
    found = {}
    for name, title in titles.items():
        data = pieces.read(folder, f"{name}.weights")
        if data is not None:
            found[name] = scratch / f"{name}.safetensors", title
            weights.unpack_file(data, found[name][0])
    if "masked" not in found:
        raise RobauditError(
            f"{folder / 'masked.weights'}: is missing; put it there from the call of `collapse` that wrote it"
        )
    return found


@dataclass(frozen=True)
class Stage:
    """The stage under way."""

    call: Call
    sizes: Sizes
    images: Images
    results: Results
    deadline: Deadline

    def part(self, name: str, path: Path, number: int) -> dict[str, Any]:
        """One checkpoint on one stretch of the examples.

        Raises:
            TimeIsUp: it does not fit into the time; what was finished is kept.

        """
        stretches = self.sizes.stretches
        places = [self.call.scratch / f"{name}.{k}.evidence" for k in range(len(stretches))]
        bundles.unbundle(self.results.held(f"{name}.evidence.zip"), places)
        rows = slice(sum(stretches[:number]), sum(stretches[: number + 1]))
        pixels, labels, ids = (
            each[rows] for each in (self.images.pixels, self.images.labels, self.images.ids)
        )
        images = replace(self.images, pixels=pixels, labels=labels, ids=ids)
        plan = AuditPlan(
            ThreatModel("Linf", 8 / 255), attacks=ATTACKS, seed=self.call.seed, examples="all",
            budget=self.sizes.budget,
        )  # fmt: skip
        classifier = load_classifier(str(path), force=True)
        watching = audits.Watching(self.deadline, "checkpoint")
        try:
            evidence = audits.run(classifier, images, plan, places[number], self.call.device, watching)
        finally:
            kept = bundles.bundle(place for place in places if place.exists())
            self.results.keep(f"{name}.evidence.zip", kept)
        return self._told(evidence)

    def _told(self, evidence: Any) -> dict[str, Any]:
        """Counts, which add up over the parts."""
        return {
            "examples": len(evidence),
            "clean": int(evidence.correct.sum()),
            "robust": {name: int(evidence.survives(name).sum()) for name in (*ATTACKS, "autoattack")},
            "unanswered": {name: int(evidence.unanswered(name).sum()) for name in ATTACKS},
            "metrics": {
                name: float(getattr(evidence, name).sum()) for name in ("fosc", "fosc_normalised", "sgcs")
            },
            "precision": evidence.header.precision,
            "seconds": evidence.header.seconds,
            "on": describe(self.call.device),
            "torch": torch.__version__,
        }
