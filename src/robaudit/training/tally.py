"""What is summed over an epoch's steps, and the batch metrics of the steps that they were asked for."""

from __future__ import annotations

from typing import Any

from robaudit.training.stepping import NORMS, SUMS, StepResult


class Tally:
    """Sums of one epoch so far, and the batch metrics of the whole run.

    Attributes:
        sums: over the epoch's examples, by the names in `SUMS`.
        batches: one row for each step with batch metrics (Appendix G).

    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = dict.fromkeys(SUMS, 0.0)
        self.batches: list[dict[str, Any]] = []

    def add(self, result: StepResult) -> None:
        """One step's sums."""
        for name in SUMS:
            self.sums[name] += result.sums[name]

    def add_batch(self, result: StepResult, step: int, epoch: int) -> None:
        """One step's batch metrics; `step` counts from the run's beginning, `epoch` from 1."""
        self.batches.append({"step": step, "epoch": epoch, **result.norms, "loss": result.mean("loss")})

    def row(self, epoch: int) -> dict[str, float]:
        """The epoch's means, for the log."""
        mean = {name: self.sums[name] / self.sums["examples"] for name in SUMS[1:]}
        here = [item for item in self.batches if item["epoch"] == epoch]
        return {
            "train_clean": mean["train_clean"],
            "train_adv": mean["train_adv"],
            "train_gap": mean["train_clean"] - mean["train_adv"],
            "train_fosc": mean["fosc"],
            "train_sgcs": mean["sgcs"],
            **{name: mean[name] for name in ("loss", "loss_clean", "loss_robust")},
            **{name: sum(item[name] for item in here) / len(here) for name in NORMS if here},
        }

    def next_epoch(self) -> None:
        """Begin anew; batch metrics stay."""
        self.sums = dict.fromkeys(SUMS, 0.0)

    def state(self) -> dict[str, Any]:
        """What a resumed run continues from."""
        return {"sums": self.sums, "batches": self.batches}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.sums, self.batches = state["sums"], state["batches"]
