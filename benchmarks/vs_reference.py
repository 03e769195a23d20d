"""Whole AutoAttack side by side: ours, `pyautoattack` and, where it is installed, torchattacks.

    python benchmarks/vs_reference.py cifar100:MODEL.pth:0.013:100 [...] --data-dir DIR --out docs/results/speed.md

Each argument is data set, checkpoint, radius and number of examples. Every tool gets the same correctly classified
examples, the standard budget and all of torch's threads, one tool after the other in one run; the others compute in
float32, ours as `--precision` says (auto). An attack is run on what the attacks before it left, as in AutoAttack.
torchattacks comes by `pip install --no-deps torchattacks` (its own pins are of 2021).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from robaudit.attacks import ATTACKS, Examples, Retired, forward
from robaudit.attacks.state import take
from robaudit.engine import Engine, on_threads, tune
from robaudit.evidence import Outcome
from robaudit.fast import search_model
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AUTOATTACK, AuditPlan, Budget, Precision, ThreatModel, parse_fraction

CPU = torch.device("cpu")
#: The reference's default.
BATCH = 250
HEAD = """| model | tool | examples | robust accuracy | seconds | ours is faster by | forwards | backwards |
|---|---|---|---|---|---|---|---|
"""


class Counted(nn.Module):
    """Counts the examples that a model is run on, and those that a gradient is asked for."""

    def __init__(self, model: Callable[[Tensor], Tensor]):
        super().__init__()
        self.model, self.forwards, self.backwards = model, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        """The model's answer."""
        self.count(x)
        return self.model(x)

    def count(self, x: Tensor) -> None:
        """One call."""
        self.forwards += len(x)
        self.backwards += len(x) * (x.requires_grad and torch.is_grad_enabled())


@dataclass(frozen=True)
class Result:
    """What one tool left standing of the correctly classified examples, and its cost."""

    tool: str
    robust: int
    seconds: float
    forwards: int
    backwards: int


def main() -> None:
    """Run the comparison and print (and with --out write) its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="DATASET:MODEL:EPS:EXAMPLES")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--precision", default="auto", choices=get_args(Precision), help="of our search")
    parser.add_argument("--tools", default="ours,pyautoattack,torchattacks")
    parser.add_argument("--out", type=Path, help="append the table's rows to this Markdown file")
    options = parser.parse_args()
    print(HEAD, end="")
    for case in options.cases:
        dataset, path, eps, count = case.split(":")
        images = load_images(dataset, data_dir=options.data_dir, seed=0)
        classifier = load_classifier(path, images=images)
        images = images.subset(int(count), 0)
        x = images.float()
        logits = torch.cat([forward(classifier, part) for part in x.split(256)])
        rows = (logits.argmax(1) == images.labels).nonzero().squeeze(1)
        examples = Examples(x[rows], images.labels[rows], images.ids[rows], logits[rows])
        plan = AuditPlan(
            ThreatModel("Linf", parse_fraction(eps)), examples="all", precision=options.precision
        )
        ours = None
        for tool in options.tools.split(","):
            if tool == "torchattacks" and importlib.util.find_spec("torchattacks") is None:
                continue
            found = TOOLS[tool](classifier, examples, plan)
            ours = ours or found
            text = line(f"{Path(path).name} {eps}", found, ours, len(x))
            print(text, end="", flush=True)
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(text)


def counting(model: nn.Module) -> Counted:
    """Counts the calls of a model from now on, without standing in its way."""
    counted = Counted(model)
    model.register_forward_pre_hook(lambda _, inputs: counted.count(inputs[0]))
    return counted


def by_ours(classifier: nn.Module, examples: Examples, plan: AuditPlan, device: torch.device = CPU) -> Result:
    """The four attacks in turn, each on what is left; preparing the model and probing the machine included."""
    started = time.perf_counter()
    classifier = classifier.to(device)
    fast = search_model(classifier, device, plan.precision, examples.x[:8])
    tuning = tune(fast, examples.x[:1].to(device), side_by_side=fast.traced)
    models = [counting(model) for model in {fast, fast.exact, classifier}]
    engine = Engine(
        search=fast,
        strict=classifier,
        threat=plan.threat,
        slots=tuning.slots,
        device=device,
        workers=tuning.workers,
        least=tuning.least,
        exact=fast.exact,
    )
    robust = torch.ones(len(examples), dtype=torch.bool)
    with on_threads(tuning.threads):
        for attack in AUTOATTACK:
            left = robust.nonzero().squeeze(1)

            def retire(retired: Retired, left: Tensor = left) -> None:
                robust[left[retired.rows]] = retired.outcome != Outcome.BROKEN

            engine.run(ATTACKS[attack](plan), take(examples, left), retire)
    seconds = time.perf_counter() - started
    forwards, backwards = (
        sum(getattr(model, passes) for model in models) for passes in ("forwards", "backwards")
    )
    return Result(f"ours, {fast.precision}", int(robust.sum()), seconds, forwards, backwards)


def by_pyautoattack(
    classifier: nn.Module, examples: Examples, plan: AuditPlan, device: torch.device = CPU
) -> Result:
    """The reference's standard version, in the arithmetic that torch chooses by itself."""
    import pyautoattack  # noqa: PLC0415  # slow to import

    model = Counted(classifier.to(device))
    started = time.perf_counter()
    adversary = pyautoattack.AutoAttack(
        model, norm="Linf", eps=plan.threat.eps, seed=plan.seed, version="standard", device=device
    )
    if plan.budget != Budget():
        adversary.apgd.n_iter = adversary.apgd_targeted.n_iter = plan.budget.apgd_steps
        adversary.fab.n_iter, adversary.square.n_queries = plan.budget.fab_steps, plan.budget.square_queries
        adversary.apgd_targeted.n_target_classes = adversary.fab.n_target_classes = plan.budget.targets
    x_adv, _ = adversary.run_standard_evaluation(
        examples.x.to(device), examples.y.to(device), batch_size=BATCH
    )
    return _result("pyautoattack", model, classifier, x_adv, examples, started)


def by_torchattacks(classifier: nn.Module, examples: Examples, plan: AuditPlan) -> Result:
    """Its AutoAttack, which is written after the reference."""
    torchattacks = importlib.import_module("torchattacks")  # optional
    model = Counted(classifier).eval()
    started = time.perf_counter()
    attack = torchattacks.AutoAttack(
        model, norm="Linf", eps=plan.threat.eps, n_classes=examples.logits.shape[1], seed=plan.seed
    )
    x_adv = torch.cat(
        [attack(x, y) for x, y in zip(examples.x.split(BATCH), examples.y.split(BATCH), strict=True)]
    )
    return _result("torchattacks", model, classifier, x_adv, examples, started)


def _result(
    tool: str, model: Counted, classifier: nn.Module, x_adv: Tensor, examples: Examples, started: float
) -> Result:
    x_adv = x_adv.cpu()
    seconds = time.perf_counter() - started
    where = next(classifier.parameters()).device
    answers = [forward(classifier, part.to(where)).argmax(1).cpu() for part in x_adv.split(BATCH)]
    robust = int((torch.cat(answers) == examples.y).sum())
    return Result(tool, robust, seconds, model.forwards, model.backwards)


def line(model: str, found: Result, ours: Result, total: int) -> str:
    """One row of the Markdown table."""
    return (
        f"| {model} | {found.tool} | {total} | {100 * found.robust / total:.1f} | {found.seconds:.0f} "
        f"| {found.seconds / ours.seconds:.1f} | {found.forwards:,} | {found.backwards:,} |\n"
    )


TOOLS = {"ours": by_ours, "pyautoattack": by_pyautoattack, "torchattacks": by_torchattacks}


if __name__ == "__main__":
    main()
