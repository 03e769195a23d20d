"""The audit: images through a model under every attack of a plan, into an evidence file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from robaudit.attacks import (
    ATTACKS,
    Engine,
    Examples,
    SearchModel,
    forward,
    on_threads,
    search_model,
    strict_arithmetic,
    tune,
)
from robaudit.audit.heading import heading
from robaudit.audit.preflight import preflight
from robaudit.audit.probes import EXAMPLES as PROBED
from robaudit.audit.probes import probe
from robaudit.audit.progress import Progress, Silent
from robaudit.audit.ranks import Ranks, joined, open_part
from robaudit.audit.recorder import Recorder
from robaudit.audit.reference import run_reference
from robaudit.errors import RobauditError
from robaudit.evidence import Evidence, EvidenceFile, ExampleRow
from robaudit.inputs import Classifier, Images
from robaudit.plan import AuditPlan, ThreatModel
from robaudit.verdict import Claim, judge

#: Examples audited before the verdict is first looked at; each further stretch is half of what came before.
FIRST_STRETCH = 64
_CLEAN_BATCH = 256
#: Always in float32: PGD-10 because its gradients are measured, FAB because it walks along the boundary, where
#: rounding decides.
_EXACT = ("pgd10", "fab-t")


def audit(  # noqa: PLR0913  one audit; all but three by keyword
    classifier: Classifier,
    images: Images,
    plan: AuditPlan,
    *,
    path: Path,
    device: str = "cpu",
    progress: Progress | None = None,
    force: bool = False,
    claim: Claim | None = None,
) -> Evidence:
    """Audit `classifier` on `images` as `plan` says, and return the evidence, which is in the file `path` too.

    The examples are taken in the order of `images`, which must be random. With `plan.examples == "auto"` the
    audit stops as soon as the verdict is decided, and that on `claim` too. An unfinished audit in `path` is
    gone on with.

    Raises:
        RobauditError: the model cannot be audited on these images, a preflight check failed and `force` is
            not set, or `path` holds another audit or cannot be written.

    """
    where = torch.device(device)
    if plan.limit is not None and plan.limit < len(images):
        raise RobauditError(
            f"limit {plan.limit}: {len(images)} images were given; draw the subset when loading them"
        )
    strict = classifier.to(where)
    findings = preflight(strict, images, where)
    blocking = [item for item in findings if item.severity == "error"]
    if blocking and not force:
        raise RobauditError(f"{classifier.info.path}: {blocking[0].message}\n{blocking[0].advice}")
    header = heading(classifier, images, plan, where, findings)
    with joined() as ranks, open_part(path, header, ranks) as file:
        return _Audit(strict, images, plan, file, ranks, where, progress or Silent(), claim).go()


class _Audit:
    """One audit under way."""

    def __init__(  # noqa: PLR0913, PLR0917  made in one place only
        self,
        strict: nn.Module,
        images: Images,
        plan: AuditPlan,
        file: EvidenceFile,
        ranks: Ranks,
        device: torch.device,
        progress: Progress,
        claim: Claim | None,
    ):
        self.strict, self.claim, self.images, self.plan, self.file = strict, claim, images, plan, file
        self.ranks, self.device, self.progress = ranks, device, progress
        sample = images.float(slice(0, 8)).to(device)
        self.search = search_model(strict, device, plan.precision, sample)
        self.exact = (
            self.search if self.search.precision == "fp32" else search_model(strict, device, "fp32", sample)
        )
        self.correct = torch.zeros(len(images), dtype=torch.bool)
        self.tuning = tune(self.search, sample[:1], side_by_side=self.search.traced)
        self.logits = torch.empty(len(images), 0)
        self.before = file.header().seconds
        self.started = time.monotonic()

    def go(self) -> Evidence:
        """All stretches, or as many as it takes."""
        with on_threads(self.tuning.threads):
            self.ranks.hand_over(self.file)
            self.file.update(finished=False)
            for stretch in self._stretches():
                self._classify(stretch)
                self._probe(stretch)
                # What is done already, by whichever rank of an earlier run.
                done = self.ranks.agree({name: self.file.finished_ids(name) for name in self.plan.attacks})
                for attack in self.plan.attacks:
                    self._attack(attack, self._pending(attack, self.ranks.share(stretch), done[attack]))
                self.ranks.hand_over(self.file)
                evidence = self.ranks.agree(self._save())
                if self.plan.examples == "auto" and judge(evidence, self.claim).settled:
                    break
        self.file.update(finished=True)
        return self.ranks.agree(self.file.read())

    def _stretches(self) -> Iterator[Tensor]:
        """Places in the images, a growing number at a time; all at once when all are wanted anyway."""
        done, total = 0, len(self.images)
        while done < total:
            size = total if self.plan.examples == "all" else max(FIRST_STRETCH, done // 2)
            yield torch.arange(done, min(done + size, total))
            done += size

    def _save(self) -> Evidence:
        self.file.update(seconds=self.before + time.monotonic() - self.started)
        return self.file.read()

    def _classify(self, stretch: Tensor) -> None:
        """The clean pass. It is cheap, and the attacks want the logits, so a resumed audit makes it again."""
        with strict_arithmetic():
            batches = [
                forward(self.strict, self.images.float(part).to(self.device)).cpu()
                for part in stretch.split(_CLEAN_BATCH)
            ]
        logits = torch.cat(batches)
        if not self.logits.shape[1]:
            self.logits = torch.zeros(len(self.images), logits.shape[1])
        self.logits[stretch] = logits
        before = self.ranks.agree(self.file.read().predictions)
        recorded = len(before)
        predictions = torch.where(logits.isfinite().all(1), logits.argmax(1), -1)
        # A resumed audit keeps to what it recorded; rounding on another device may tip a near-tie.
        known = stretch[stretch < recorded]
        predictions[: len(known)] = torch.from_numpy(before)[known]
        self.correct[stretch] = predictions == self.images.labels[stretch]
        self.file.add_examples(
            ExampleRow(place, int(self.images.ids[place]), int(self.images.labels[place]), int(prediction))
            for place, prediction in zip(stretch.tolist(), predictions.tolist(), strict=True)
            if place >= recorded
        )

    def _probe(self, stretch: Tensor) -> None:
        """Why a gradient attack may be fooled, once, on the first correctly classified examples; not for PGD alone."""
        if self.ranks.rank or self.file.header().probes or set(self.plan.attacks) <= {"pgd10"}:
            return
        places = stretch[self.correct[stretch]][:PROBED]
        if not len(places):
            return
        self.progress.begin("probes", len(places))
        found = probe(
            lambda threat: self._engine(self.exact, threat),
            self._examples(places),
            self.plan.threat,
            self.plan.seed,
        )
        self.file.update(probes=found)
        self.progress.advance("probes", len(places), 0, 0)
        self.progress.end("probes")

    def _engine(self, search: SearchModel, threat: ThreatModel) -> Engine:
        tuned = self.tuning
        return Engine(search, self.strict, threat, tuned.slots, self.device, tuned.workers, tuned.least)

    def _examples(self, places: Tensor) -> Examples:
        return Examples(
            x=self.images.float(places),
            y=self.images.labels[places],
            ids=self.images.ids[places],
            logits=self.logits[places],
        )

    def _attack(self, name: str, places: Tensor) -> None:
        """One attack on the examples at `places`."""
        if not len(places):
            return
        recorder = Recorder(
            self.file, self.images, self.correct, self.plan, self.strict, self.device, self.progress
        )
        examples = self._examples(places)
        self.progress.begin(name, len(places))
        try:
            if self.plan.engine == "reference" and name != "pgd10":
                run_reference(
                    name,
                    self.plan,
                    self.strict,
                    examples,
                    self.device,
                    lambda r: recorder.add(name, places, r),
                )
            else:
                search = self.exact if name in _EXACT else self.search
                engine = self._engine(search, self.plan.threat)
                engine.run(ATTACKS[name](self.plan), examples, lambda r: recorder.add(name, places, r))
        finally:
            recorder.flush()
        self.progress.end(name)

    def _pending(self, name: str, places: Tensor, finished: list[int]) -> Tensor:
        """Those of `places` that `name` is to be run on still.

        Robust accuracy needs the correctly classified examples only; PGD-10 runs on all, because the means of
        FOSC and SGCS are over the data (Equation 3).
        """
        wanted = torch.ones_like(self.correct) if name == "pgd10" else self.correct
        done = torch.isin(self.images.ids, torch.tensor(finished, dtype=torch.int64))
        return places[(wanted & ~done)[places]]
