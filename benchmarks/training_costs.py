"""What training costs beside its steps: the measure of `robust`, the healer on a calm run, a busy neighbour.

    python benchmarks/training_costs.py robust --data-dir DIR [--start CKPT]   # shares of an epoch of TRADES
    python benchmarks/training_costs.py healer --data-dir DIR --out DIR        # with --heal and without, in turn
    python benchmarks/training_costs.py neighbour --out DIR                    # beside busy processes, and without

`robust` and `healer` count the processor's seconds of one thread, which a shared machine does not change; `neighbour`
counts the clock's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from healing import SETTINGS, Lab, weights

from robaudit.cli.train_settings import settings_for
from robaudit.cli.training import settings_from
from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import parse_fraction
from robaudit.ranks import Ranks
from robaudit.reports.run_curves import read_log
from robaudit.training import train
from robaudit.training.checkpoints import LAST
from robaudit.training.data import TrainData, hold_out
from robaudit.training.network import Shape
from robaudit.training.state import TrainingState
from robaudit.training.treatments import NONE
from robaudit.training.validation import Validation
from robaudit.training.worst_case import HARD

#: Examples of an epoch of CIFAR's, 1,000 being held out of 50,000.
EPOCH = 49_000


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """The processor's seconds of this process, and what the work gave."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def robust(options: argparse.Namespace) -> None:
    """Steps and measurements of one network, as shares of an epoch of `EPOCH` examples."""
    torch.set_num_threads(1)
    images = load_images(options.dataset, data_dir=options.data_dir, split="train", seed=0)
    start = load_classifier(options.start, images=images.subset(500, 0), force=True)
    given = settings_from(start) | {"batch_size": options.batch, "validation": options.validation}
    given |= {"eps": options.eps} if options.eps else {}
    settings = settings_for(options.dataset, given, len(images))
    rest, held = hold_out(images, settings.validation, 0)
    shape, ranks = Shape(images.classes, images.shape), Ranks()
    training = TrainingState(
        settings, shape, TrainData(rest, torch.device("cpu"), settings.augment, 0), ranks
    )
    training.network.network.load_state_dict(start.network.state_dict())
    validation, order = Validation(held, settings, shape, ranks), training.order(0)
    rows = {
        name: seconds(
            partial(validation.look, training.network, lambda *_, more=more: more, lambda gap: gap >= HARD)
        )
        for name, more in (("most epochs", False), ("an epoch that may be the best", True))
    }
    training.step(order, 0, 0, NONE)  # the first one finds the fastest form
    took = [seconds(partial(training.step, order, 0, k, NONE))[0] for k in range(1, 1 + options.steps)]
    epoch = statistics.median(took) / options.batch * EPOCH
    print(
        f"{options.start}: an epoch of TRADES takes {epoch:.0f} s ({EPOCH} examples, batch {options.batch})"
    )
    for name, (spent, look) in rows.items():
        known = look.standing
        interval = known.interval
        measured = (
            f"PGD-10 {100 * look.measured.pgd10:.1f}, robust {100 * interval.value:.1f} of {interval.n}"
        )
        measured += ", with more passes" * known.long
        print(f"| {name} | {spent:.1f} s | {100 * spent / epoch:.1f} % | {measured} |", flush=True)


def healer(options: argparse.Namespace) -> None:
    """Calm runs with `--heal` and without, in turn: the same bits, and what the first cost more."""
    torch.set_num_threads(1)
    lab = Lab(options.out, options.data_dir, 0)
    for name in options.settings:
        spent: dict[str, list[float]] = {"off": [], "auto": []}
        found: dict[str, set[str]] = {"off": set(), "auto": set()}
        for turn in range(options.rounds):
            for heal in sorted(spent, reverse=bool(turn % 2)):
                place = options.out / f"{name}-{heal}-{turn}"
                if not (place / "cpu.json").exists():
                    shutil.rmtree(
                        place, ignore_errors=True
                    )  # a run that was broken off has not counted all of it
                    run = partial(lab.run, place.name, SETTINGS[name], {"heal": heal, "threads": 1}, 0)
                    (place / "cpu.json").write_text(json.dumps(seconds(run)[0]))
                spent[heal].append(float(json.loads((place / "cpu.json").read_text())))
                found[heal].add(weights(place / LAST))
        off, auto = (statistics.median(values) for values in spent.values())
        same = "the same weights" if len(found["off"] | found["auto"]) == 1 else "OTHER WEIGHTS"
        print(
            f"| {name} | {off:.1f} s | {auto:.1f} s | {100 * (auto / off - 1):+.1f} % | {same} |", flush=True
        )


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that do nothing but work."""
    others = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for item in others:
        item.start()
    try:
        yield
    finally:
        for item in others:
            item.kill()


def neighbour(options: argparse.Namespace) -> None:
    """Seconds an epoch of digits, in turn alone and beside busy processes."""
    images = load_images("digits", split="train", seed=0)
    took: dict[tuple[str, int], list[float]] = {}
    for turn in range(options.rounds):
        for kind, threads in (("measured", 0), ("all", torch.get_num_threads())):
            for count in (0, options.busy):
                settings = settings_for("digits", {"epochs": options.epochs, "threads": threads}, len(images))
                place = options.out / f"{kind}-{count}-{turn}"
                with busy(count):
                    train(settings, images, place)
                epochs = [row["seconds"] for row in read_log(place)][1:]
                took.setdefault((kind, count), []).append(statistics.median(epochs))
    for (kind, count), values in took.items():
        times = statistics.median(values) / statistics.median(took[kind, 0])
        print(f"| {kind} | {count} | {statistics.median(values):.3f} s | {times:.2f} |")


def main() -> None:
    """One of the three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("robust", "healer", "neighbour"))
    parser.add_argument("--out", type=Path, help="a folder for the runs")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--start", help="a checkpoint: its network and weights are measured")
    parser.add_argument("--eps", type=parse_fraction, help="the data set's usual by default")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--validation", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["digits-stable", "cifar10-slice"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=1, help="processes")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    try:
        {"robust": robust, "healer": healer, "neighbour": neighbour}[options.what](options)
    except RobauditError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
