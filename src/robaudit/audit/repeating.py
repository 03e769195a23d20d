"""A model and the attacks of an audit's plan, to be run on some of its examples once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from robaudit.attacks import ATTACKS, Attack, Examples, Retired, forward
from robaudit.attacks.randomness import Draws
from robaudit.attacks.state import take
from robaudit.audit.beginnings import beginning_of
from robaudit.audit.reference import run_reference
from robaudit.audit.witnesses import batch_of
from robaudit.devices import in_parts
from robaudit.engine import Engine, tune
from robaudit.evidence import SCOUTS, Header, Outcome
from robaudit.fast import Averaged, SearchModel, before_softmax, search_model, strict_arithmetic
from robaudit.inputs import Classifier

#: Further runs of an example that did not come out as recorded.
_RUNS = 16
#: How far the image is moved in them, by what attacks are said to have searched in: a few units in the last place.
ROUNDING = {"fp32": 2.0**-22, "tf32": 2.0**-11, "fp16": 2.0**-11, "bf16": 2.0**-9}


class Repeating:
    """The model in the form that attacks search with, in float32, and its attacks."""

    def __init__(
        self, models: tuple[Classifier, nn.Module], header: Header, examples: Examples, device: torch.device
    ) -> None:
        classifier, self.strict = models
        self.header, self.plan, self.examples, self.device = header, header.plan, examples, device
        source = (
            Averaged(classifier, self.plan.eot, self.plan.seed, "search") if self.plan.eot > 1 else classifier
        )
        sample = examples.x[:8].to(device)
        self.whole = search_model(source, device, "fp32", sample)
        bare = before_softmax(classifier, sample) if self.plan.eot == 1 else None
        self.search = search_model(bare[0], device, "fp32", sample) if bare else self.whole
        self.tuning = tune(self.search, sample[:1], side_by_side=self.search.traced)
        self.threads = self.tuning.threads

    def outcomes(self, name: str, examples: Examples, *, reference: bool = False) -> Tensor:
        """(n,) the `Outcome` of the attack on each of the examples."""
        found = torch.full((len(examples),), int(Outcome.NOT_RUN))

        def retire(retired: Retired) -> None:
            found[retired.rows] = retired.outcome

        if reference:
            run_reference(name, self.plan, self.strict, examples, self.device, retire)
        else:
            self._run(name, examples, retire)
        return found

    def margins(self, name: str, examples: Examples) -> Tensor:
        """(n,) the largest margin that each meets in a beginning of an attack."""
        met = torch.full((len(examples),), float("-inf"))

        def retire(retired: Retired) -> None:
            met[retired.rows] = retired.closest

        self._run(name, examples, retire)
        return met

    def largest_logit(self, examples: Examples) -> float:
        """In absolute value, of what attacks search in."""
        return float(self._logits(self.search, examples.x).abs().amax())

    def _run(self, name: str, examples: Examples, retire: Callable[[Retired], None]) -> None:
        tuned = self.tuning
        search = self.whole if name == "pgd10" else self.search  # as `Session` chooses
        if search is not self.whole:
            examples = replace(examples, logits=self._logits(search, examples.x))
        engine = Engine(
            search=search,
            strict=self.strict,
            threat=self.plan.threat,
            slots=tuned.slots,
            device=self.device,
            workers=tuned.workers,
            least=tuned.least,
        )
        engine.run(self._attack(name), examples, retire)

    def _attack(self, name: str) -> Attack:
        if name not in SCOUTS:
            return ATTACKS[name](self.plan)
        return beginning_of(name, self.plan).of(SCOUTS[name], self.plan)

    def _logits(self, search: SearchModel, x: Tensor) -> Tensor:
        def answers(part: Tensor) -> Tensor:
            with strict_arithmetic():
                return forward(search, x[part].to(self.device)).cpu()

        return torch.cat(in_parts(answers, torch.arange(len(x)), batch_of(x.shape[1:])))

    def outcomes_of_moved(self, name: str, row: int) -> Tensor:
        """(_RUNS,) the `Outcome` of the attack on one example, in runs that differ by rounding."""
        copies = take(self.examples, torch.full((_RUNS,), row))
        size = copies.x[0].numel()
        signs = Draws(self.plan.seed, "rounding").signs(torch.arange(_RUNS), 0, size).reshape(copies.x.shape)
        moved = (copies.x + ROUNDING.get(self.header.precision, ROUNDING["fp32"]) * signs).clamp(0, 1)
        return self.outcomes(name, Examples(moved, copies.y, copies.ids, copies.logits))
