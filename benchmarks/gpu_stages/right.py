"""The stage `right`: does an accelerator find what the CPU finds, and does a fast search lose nothing?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu_stages import audits, bundles, limits
from gpu_stages.calls import CPU, Call
from gpu_stages.cases import Case, cases_of
from gpu_stages.deadline import Deadline, TimeIsUp
from gpu_stages.results import Results
from gpu_stages.right_table import right_table
from robaudit.audit import verify
from robaudit.devices import describe
from robaudit.evidence import Evidence, EvidenceFile
from robaudit.inputs import Images, load_images
from robaudit.plan import AUTOATTACK, STANDARD_ATTACKS, AuditPlan, Budget, ThreatModel

#: Searches that are compared with float32.
PRECISIONS = ("tf32", "bf16", "fp16")
BUNDLE = "evidence.zip"


@dataclass(frozen=True)
class Sizes:
    """Examples of each checkpoint, the attacks' budgets, and the sizes of the other parts."""

    examples: int = 300
    budget: Budget = field(default_factory=Budget)
    grid: int = 51
    images: int = 16
    arch: str = "resnet18"
    made: tuple[int, str] = (8, "wrn-10-1")


_SMALL = Budget(pgd_steps=2, apgd_steps=3, fab_steps=2, targets=2, square_queries=20)
_TINY = "sequential:conv4k3s2p1 relu flatten fcK"
DRY = Sizes(4, _SMALL, 5, 2, _TINY, (1, _TINY))


def right(call: Call) -> None:
    """Outcomes, witnesses and metrics against the CPU's; precisions; memory that runs out; a landscape in time."""
    sizes = DRY if call.dry_run else Sizes()
    cases = cases_of(call, *sizes.made)
    if call.dry_run:
        cases = cases[:1] + cases[-1:]
    results, deadline = call.open(
        "right",
        {
            "models": [case.facts() for case in cases],
            "examples": sizes.examples,
            "budget": vars(sizes.budget),
        },
    )
    session = RightSession(call, sizes, cases, results, deadline)
    bundles.unbundle(results.held(BUNDLE), session.files())
    # The CPU's evidence comes first: it may be made where there is no accelerator, and taken along.
    parts = [(case, "cpu") for case in cases]
    if call.device.type != "cpu" or call.dry_run:
        parts += [(case, "device") for case in cases]
        searched = cases[:1] if call.dry_run else cases
        # TF32 is CUDA's.
        precisions = PRECISIONS if call.device.type == "cuda" else PRECISIONS[1:]
        parts += [(case, precision) for case in searched for precision in precisions]
    try:
        for case, part in parts:
            session.part(f"{case.name} {part}", part, partial(session.audited, case, part), 20)
        if call.device.type != "cpu" or call.dry_run:
            session.part("memory", "memory", partial(limits.memory, call.device, call.seed), 20)
            size = (sizes.grid, sizes.images, sizes.arch)
            session.part("landscape", "landscape", partial(limits.landscape, call, *size), 30)
        else:
            print("no accelerator here: the CPU's evidence is kept; the rest wants a call where there is one")
    except TimeIsUp:
        print("the time is over: a later call with the same --out resumes it")
    results.say(right_table([case.name for case in cases], results.parts, call.minutes))


@dataclass(frozen=True)
class RightSession:
    """The stage under way."""

    call: Call
    sizes: Sizes
    cases: list[Case]
    results: Results
    deadline: Deadline

    def files(self) -> list[Path]:
        """Everything that is kept in the bundle: evidence, and the checkpoint that was made."""
        made = [case.path for case in self.cases if case.made]
        return made + [self.place(case, part) for case in self.cases for part in ("cpu", "device")]

    def place(self, case: Case, part: str) -> Path:
        """Where the evidence of one audit is."""
        return self.call.scratch / f"{case.name}.{part}.evidence"

    def part(self, name: str, kind: str, run: Callable[[], Any], guess: float) -> None:
        """Make a part that is not made yet, if it fits into the time."""
        if name in self.results.parts:
            return
        if not self.deadline.allows(kind, guess if not self.call.dry_run else 0):
            raise TimeIsUp
        self.results.attempt(name, run, kind)

    def audited(self, case: Case, part: str) -> dict[str, Any]:
        """One audit, and what it is compared with."""
        case.make(self.call.seed)
        try:
            evidence = self._audit(case, part)
        finally:
            if part in ("cpu", "device"):
                kept = bundles.bundle(path for path in self.files() if path.exists())
                self.results.keep(BUNDLE, kept)
        found: dict[str, Any] = {
            "accuracy": {name: audits.robust(evidence, name) for name in evidence.attacks},
            "autoattack": audits.robust(evidence, "autoattack"),
            "examples": len(evidence),
            "seconds": evidence.header.seconds,
            "device": evidence.header.device,
        }
        if part == "device":
            found |= self._against_cpu(case, evidence)
        return found

    def _audit(self, case: Case, part: str) -> Evidence:
        plan = AuditPlan(
            ThreatModel("Linf", case.eps),
            attacks=AUTOATTACK if part in PRECISIONS else STANDARD_ATTACKS,
            seed=self.call.seed,
            examples="all",
            budget=self.sizes.budget,
            precision=part if part in PRECISIONS else "fp32",  # type: ignore[arg-type]
        )
        device = CPU if part == "cpu" else self.call.device
        images = self._images(case)
        watching = audits.Watching(self.deadline, f"{case.name} {part}")
        return audits.run(case.load(images), images, plan, self.place(case, part), device, watching)

    def _images(self, case: Case) -> Images:
        return load_images(
            case.dataset, data_dir=case.data_dir, limit=self.sizes.examples, seed=self.call.seed
        )

    def _against_cpu(self, case: Case, evidence: Evidence) -> dict[str, Any]:
        with EvidenceFile.open(self.place(case, "cpu")) as file:
            other = file.read()
        checked: dict[str, Any] = {}
        for side, device in (("cpu", self.call.device), ("device", CPU)):
            done = verify(self.place(case, side), case.load(self._images(case)), str(device))
            checked[f"{side}_witnesses"] = done.witnesses
            checked[f"{side}_failures"] = list(done.failures[:20])
        return checked | {
            "equal": {name: audits.equal_share(other, evidence, name) for name in evidence.attacks},
            "metrics": {
                name: [float(np.mean(getattr(side, name))) for side in (other, evidence)]
                for name in ("fosc", "fosc_normalised", "sgcs")
            },
            "on": describe(self.call.device),
            "torch": torch.__version__,
        }
