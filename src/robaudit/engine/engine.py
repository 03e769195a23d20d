"""The scheduler: every example once through an attack, in slots that are never idle, by one worker or several.

In half precision a search may miss a break by rounding. The runs that came so close that this is possible are made
again in float32, all of them together once the others are through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from robaudit.attacks.objectives import Model
from robaudit.attacks.state import Attack, Examples, Retired, take
from robaudit.engine.runs import Runs
from robaudit.engine.slots import Slots, Task
from robaudit.engine.workers import work_together
from robaudit.evidence import Outcome
from robaudit.plan import ThreatModel


@dataclass(frozen=True)
class Engine:
    """Runs attacks against `search`, the fast form of a model, and re-checks against `strict`, its float32 form.

    Args:
        search, strict: from inputs in [0, 1] to logits.
        threat: the ball that witnesses are sealed in.
        slots: examples that each worker has under way at once.
        device: where `search` lives and the slots are kept.
        workers: threads that share the queue, each with slots of its own. More than one needs models whose calls
            do not disturb each other.
        least: examples that each worker's step must hold for there to be more than one. Of fewer workers than
            `workers` the last one uses the threads of all, if its step holds as many and is faster by it.
        exact: the float32 form of `search`, with which runs are made again that came close to a break; None where
            there is no other.

    """

    search: Model
    strict: Model
    threat: ThreatModel
    slots: int
    device: torch.device
    workers: int = 1
    least: int = 1
    exact: Model | None = None

    def run(self, attack: Attack, examples: Examples, retire: Callable[[Retired], None]) -> None:
        """Attack every example once; `retire` is called with each group as it finishes, in no fixed order."""
        if not len(examples):
            return
        wanted = torch.ones(len(examples), attack.runs(examples.logits.shape[1]), dtype=torch.bool)
        task = Task(
            attack=attack,
            examples=examples,
            wanted=wanted,
            search=self.search,
            strict=self.strict,
            threat=self.threat,
            device=self.device,
        )
        if self.exact is None or self.exact is self.search:
            self._work(task, retire)
            return
        doubtful: list[Retired] = []

        def sort_out(retired: Retired) -> None:
            doubt = (retired.outcome == Outcome.ROBUST) & retired.near_misses.any(1)
            for rows, take_over in ((~doubt, retire), (doubt, doubtful.append)):
                if rows.any():
                    take_over(retired.part(rows.nonzero().squeeze(1)))

        self._work(task, sort_out)
        self._again(replace(task, search=self.exact), doubtful, retire)

    def _again(self, task: Task, doubtful: list[Retired], retire: Callable[[Retired], None]) -> None:
        """Make the runs of `doubtful` that came close again."""
        if not doubtful:
            return
        rows, wanted, closest, steps, forwards, backwards = (
            torch.cat([getattr(retired, name) for retired in doubtful])
            for name in ("rows", "near_misses", "closest", "steps", "forwards", "backwards")
        )

        def add_up(retired: Retired) -> None:
            here = retired.rows
            retire(
                replace(
                    retired,
                    rows=rows[here],
                    closest=torch.maximum(closest[here], retired.closest),
                    steps=steps[here] + retired.steps,
                    forwards=forwards[here] + retired.forwards,
                    backwards=backwards[here] + retired.backwards,
                )
            )

        self._work(replace(task, examples=take(task.examples, rows), wanted=wanted), add_up)

    def _work(self, task: Task, retire: Callable[[Retired], None]) -> None:
        jobs = int(task.wanted.sum())
        workers = max(min(self.workers, jobs, jobs * task.attack.tries // self.least), 1)
        runs = Runs(task.wanted, workers)
        width = min(self.slots, -(-jobs // workers))
        # What a worker is given of the threads that `tune` has meant for all of them.
        helpers = (self.workers - 1) * torch.get_num_threads()
        works = [Slots(task, runs, width, self.slots, helpers, self.least).run for _ in range(workers)]
        if workers == 1:
            works[0](retire)
        else:
            work_together(works, runs.close_down, retire)
