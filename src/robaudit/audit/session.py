"""What an audit can do to some of its images: classify, probe, attack; each leaves rows in the evidence file."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor

from robaudit.attacks import ATTACKS, Examples, Retired, forward
from robaudit.audit.beginnings import Beginning, beginning_of
from robaudit.audit.models import Models
from robaudit.audit.parts import hand_over
from robaudit.audit.probes import EXPERIMENTS, PROBE_EXAMPLES, compare_trajectories, merged, probe, summed_up
from robaudit.audit.progress import Progress
from robaudit.audit.recorder import Recorder
from robaudit.audit.reference import run_reference
from robaudit.devices import in_parts
from robaudit.engine import Engine, Tuning, tune
from robaudit.evidence import FIRST_QUERIES, SCOUT, SCOUTS, Attacks, Evidence, EvidenceFile, ExampleRow
from robaudit.fast import SearchModel, search_model, strict_arithmetic
from robaudit.inputs import Images
from robaudit.plan import AuditPlan, ThreatModel
from robaudit.ranks import Ranks
from robaudit.verdict import failure_sentence

_CLEAN_BATCH = 256
#: Always in float32: its gradients are measured.
_EXACT = ("pgd10",)


class Session:
    """One audit under way: the model, the images, the file. Places are rows of the images, in audit order."""

    def __init__(
        self,
        models: Models,
        images: Images,
        plan: AuditPlan,
        file: EvidenceFile,
        ranks: Ranks,
        device: torch.device,
        progress: Progress,
    ):
        self.strict = models.strict
        self.images, self.plan, self.file = images, plan, file
        self.ranks, self.device, self.progress = ranks, device, progress
        sample = images.float(slice(0, 8)).to(device)
        self.whole = search_model(models.search, device, plan.precision, sample)
        self.helped = models.helped
        bare = models.bare
        self.search = self.whole if bare is None else search_model(bare, device, plan.precision, sample)
        self.correct = torch.zeros(len(images), dtype=torch.bool)
        self.tuning: Tuning = tune(self.search, sample[:1], side_by_side=self.search.traced)
        self.logits = torch.empty(len(images), 0)
        self.prepared = 0
        self.before = file.header().seconds
        self.started = time.monotonic()

    def sync(self) -> Evidence:
        """Everything that is known by now, on every rank."""
        hand_over(self.file, self.ranks)
        if self.ranks.first:
            self.file.update(seconds=self.before + time.monotonic() - self.started)
        return self.ranks.agree(self.file.read())

    def prepare(self, places: Tensor) -> None:
        """The clean pass over `places`, which begin where the last call ended, and once the probes."""
        self._classify(places)
        self._probe(places)
        self.prepared = int(places[-1]) + 1

    def _classify(self, stretch: Tensor) -> None:
        """The clean pass. It is cheap, and the attacks want the logits, so a resumed audit makes it again."""
        with strict_arithmetic():
            batches = in_parts(
                lambda part: self._answers(self.images.float(part).to(self.device)), stretch, _CLEAN_BATCH
            )
        answers, logits = torch.cat(batches).unbind(1)
        if not self.logits.shape[1]:
            self.logits = torch.zeros(len(self.images), logits.shape[1])
        self.logits[stretch] = logits
        before = self.ranks.agree(self.file.read().predictions)
        recorded = len(before)
        predictions = torch.where(answers.isfinite().all(1), answers.argmax(1), -1)
        # A resumed audit keeps to what it recorded; rounding on another device may tip a near-tie.
        known = stretch[stretch < recorded]
        predictions[: len(known)] = torch.from_numpy(before)[known]
        self.correct[stretch] = predictions == self.images.labels[stretch]
        self.file.add_examples(
            ExampleRow(place, int(self.images.ids[place]), int(self.images.labels[place]), int(prediction))
            for place, prediction in zip(stretch.tolist(), predictions.tolist(), strict=True)
            if place >= recorded
        )

    def _answers(self, x: Tensor) -> Tensor:
        """(n, 2, K): what the strict model answers, and the logits that attacks choose their targets by."""
        answers = forward(self.strict, x)
        logits = answers if self.search is self.whole else forward(self.search.exact, x)
        return torch.stack([answers, logits], 1).cpu()

    def _probe(self, stretch: Tensor) -> None:
        """Why a gradient attack may be fooled, once, on the first correctly classified examples; not for PGD alone."""
        attacks = set(self.plan.attacks)
        if self.ranks.agree(bool(self.file.header().probes)) or attacks == {"pgd10"}:
            return
        if "pgd10" not in attacks and (self.plan.cascade or self.plan.version == "custom"):
            return  # nobody asked about PGD
        places = stretch[self.correct[stretch]][:PROBE_EXAMPLES]
        if not len(places):
            return
        mine = self.ranks.share(places)
        self.progress.begin("probes", EXPERIMENTS if len(mine) else 0)
        rows = {}
        if len(mine):
            rows = probe(
                lambda threat: self.engine(self.whole.exact, threat),
                self.examples(mine),
                self.plan.threat,
                self.plan.seed,
                lambda: self.progress.advance("probes", 1, 0, 0),
            )
        if len(mine) and self.search is not self.whole:
            forms = {"": self.whole.exact, "before_": self.search.exact}
            engines = {name: self.engine(form, self.plan.threat) for name, form in forms.items()}
            rows |= compare_trajectories(engines, self.examples(mine), self.plan.threat, self.plan.seed)
        parts = [part for part in self.ranks.gather(rows) if part]
        if self.ranks.first:
            found = summed_up(merged(parts))
            self.file.update(probes=found)
            if sentence := failure_sentence(found, self.plan.eot):
                self.progress.note(sentence)
        self.progress.end("probes")

    def engine(self, search: SearchModel, threat: ThreatModel) -> Engine:
        """The scheduler of attacks that search with `search`, in the ball of `threat`."""
        tuned = self.tuning
        return Engine(
            search=search,
            strict=self.strict,
            threat=threat,
            slots=tuned.slots,
            device=self.device,
            workers=tuned.workers,
            least=tuned.least,
            exact=search.exact,
        )

    def examples(self, places: Tensor) -> Examples:
        """What attacks are given of `places`."""
        return Examples(
            x=self.images.float(places),
            y=self.images.labels[places],
            ids=self.images.ids[places],
            logits=self.logits[places],
        )

    def attack(self, name: str, places: Tensor) -> None:
        """One attack on the examples at `places`, this rank's share of them."""
        self._run(name, self.ranks.share(places), name)

    def scout(self, places: Tensor) -> None:
        """Square's first queries on those of `places` that neither they nor Square were run on.

        A break is the one that Square itself would find, for its queries do not depend on their number; what is not
        broken is kept under another name.
        """
        if self.plan.budget_of("square").square_queries <= FIRST_QUERIES:
            self.attack("square", self.pending("square", places))
            return
        places = self.pending("square", self.pending(SCOUT, places))
        self.begin(places, SCOUT)

    def begin(self, places: Tensor, scout: str) -> tuple[Tensor, Tensor]:
        """The beginning of an attack that is called `scout`, on all of `places`; what it leaves is kept likewise.

        Returns:
            places, margins: (n,) each, this rank's share of `places`, and the largest margin that each met.

        """
        mine = self.ranks.share(places)
        return mine, self._run(SCOUTS[scout], mine, scout, beginning_of(scout, self.plan))

    def _run(self, name: str, places: Tensor, unbroken: str, beginning: Beginning | None = None) -> Tensor:
        """(n,) the largest margin that each of `places` met, of attacks that keep it."""
        met = torch.full((len(places),), float("-inf"))
        if not len(places):
            return met
        recorder = Recorder(
            file=self.file, images=self.images, correct=self.correct, plan=self.plan, strict=self.strict,
            device=self.device, progress=self.progress,
        )  # fmt: skip
        examples = self.examples(places)
        self.progress.begin(name, len(places))
        try:
            if self.plan.engine == "reference" and name != "pgd10":
                run_reference(
                    name,
                    self.plan,
                    self.strict,
                    examples,
                    self.device,
                    lambda r: recorder.add(name, places, r, unbroken),
                )
            else:
                search = self.whole.exact if name in _EXACT else self.search
                if name not in _EXACT:
                    self.file.update(precision=search.precision)
                engine = self.engine(search, self.plan.threat)
                if name in self.helped:
                    engine = replace(engine, search=self.helped[name], exact=None, workers=1)
                attack = beginning.of(name, self.plan) if beginning else ATTACKS[name](self.plan)

                def retire(retired: Retired) -> None:
                    met[retired.rows] = retired.closest
                    numbered = beginning.numbered(retired, self.plan) if beginning else retired
                    recorder.add(name, places, numbered, unbroken)

                engine.run(attack, examples, retire)
        finally:
            recorder.flush()
        self.progress.end(name)
        return met

    def open(self, attack: Attacks, places: Tensor) -> Tensor:
        """Those of `places` that are correctly classified and of which `attack` has not said what becomes of them."""
        return places[torch.from_numpy(self.sync().open(attack))[places]]

    def pending(self, name: str, places: Tensor) -> Tensor:
        """Those of `places` that `name` is to be run on still, by whichever rank.

        Robust accuracy needs the correctly classified examples only; PGD-10 runs on all, because the means of
        FOSC and SGCS are over the data (Equation 3).
        """
        hand_over(self.file, self.ranks)
        finished = self.ranks.agree(self.file.finished_ids(name))
        wanted = torch.ones_like(self.correct) if name == "pgd10" else self.correct
        done = torch.isin(self.images.ids, torch.tensor(finished, dtype=torch.int64))
        return places[(wanted & ~done)[places]]
