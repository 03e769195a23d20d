"""What only an accelerator can show, as one prepared command, cut into stages that fit a few minutes.

    python benchmarks/gpu.py right    --data-dir D --minutes 3 --out DIR
    python benchmarks/gpu.py speed    --data-dir D --minutes 4 --out DIR
    python benchmarks/gpu.py collapse --data-dir D --minutes 8 --out DIR
    python benchmarks/gpu.py table3   --data-dir D --minutes 8 --out DIR --runs COLLAPSE_DIR
    python benchmarks/gpu.py pack DEST --data-dir D     the data sets as archives, which --data-dir takes as well
    python benchmarks/gpu.py join DIR                   numbered pieces into whole files, weights into .safetensors

A stage ends by itself before its minutes are over, leaves its results after every part, and resumes what an
earlier call left in DIR. docs/gpu.md says what each proves.
"""

from __future__ import annotations

import time

BEGAN = time.monotonic()  # before torch is imported, which takes seconds of the call's minutes

import argparse  # noqa: E402
import importlib.util  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import get_args  # noqa: E402

if importlib.util.find_spec("robaudit") is None:  # a checkout that is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import torch  # noqa: E402
from gpu_stages import archives, joining  # noqa: E402
from gpu_stages.calls import CHANGES, Call  # noqa: E402
from gpu_stages.stages import STAGES  # noqa: E402

from robaudit import devices  # noqa: E402
from robaudit.errors import RobauditError  # noqa: E402
from robaudit.plan import parse_fraction  # noqa: E402
from robaudit.training.settings import ScheduleName, TrainExecution  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The flags."""
    whole = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = whole.add_subparsers(dest="kind", required=True)
    packing = kinds.add_parser("pack", help="write the data sets as archives of at most 50 MB")
    packing.add_argument("destination", type=Path)
    packing.add_argument("--data-dir", type=Path, required=True)
    packing.add_argument(
        "--train", type=int, help="of CIFAR-100's training images, class-balanced; all by default"
    )
    packing.add_argument("--test", type=int, help="likewise of its test images")
    join = kinds.add_parser("join", help="join numbered pieces, and unpack weights")
    join.add_argument("folder", type=Path)
    for name, stage in STAGES.items():
        flags = kinds.add_parser(name, help=(stage.__doc__ or "").strip().splitlines()[0])
        flags.add_argument("--data-dir", type=Path, required=True, help="the data sets, or their archives")
        flags.add_argument("--minutes", type=float, required=True, help="of this call, imports included")
        flags.add_argument("--out", type=Path, required=True, help="the results; resumed where it has some")
        flags.add_argument("--device", default="auto", help="auto, cpu, cuda ...")
        flags.add_argument("--dry-run", action="store_true", help="tiny sizes: does every line run?")
        flags.add_argument("--seed", type=int, default=0)
        if name in ("speed", "collapse"):
            flags.add_argument("--execution", choices=get_args(TrainExecution), default="auto")
        if name == "collapse":
            flags.add_argument("--beta", type=float, help="1 by default")
            flags.add_argument("--batch-size", type=int, help="128 by default")
            flags.add_argument("--lr", type=float, help="0.1 by default")
            flags.add_argument(
                "--eps", type=_eps, help="such as 16/255, in steps of a quarter; 8/255 by default"
            )
            flags.add_argument("--schedule", choices=get_args(ScheduleName), help="constant by default")
            flags.add_argument("--epochs", type=int, help="that the schedule is made for; 200 by default")
            flags.add_argument("--limit", type=int, help="training images; all by default")
            flags.add_argument("--validation", type=int, help="held-out examples; 1,000 by default")
            flags.add_argument(
                "--batch-metrics", type=int, help="every this many steps; 20 by default, 0 for none"
            )
        if name == "right":
            flags.add_argument("--models", nargs="+", default=[], metavar="DATASET:FILE:EPS")
        if name == "speed":
            flags.add_argument("--model", type=Path, help="a robust ResNet-18; otherwise one is trained")
        if name == "table3":
            flags.add_argument(
                "--runs", type=Path, help="the folder of `collapse`; by default `collapse` beside --out"
            )
    return whole


def _eps(text: str) -> float:
    try:
        return parse_fraction(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(arguments: list[str] | None = None) -> int:
    """Run a stage; 0 when it ended as it should, 2 with one line when it could not."""
    options = parser().parse_args(arguments)
    try:
        if options.kind == "pack":
            cifar100 = {"train": options.train, "test": options.test}
            print(*archives.sizes(archives.pack(options.data_dir, options.destination, cifar100)), sep="\n")
        elif options.kind == "join":
            print(*joining.join(options.folder), sep="\n")
        else:
            _stage(options, time.monotonic() if arguments is not None else BEGAN)
    except RobauditError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _stage(options: argparse.Namespace, began: float) -> None:
    if not options.minutes > 0:
        raise RobauditError(f"minutes {options.minutes:g} must be above 0, for example 3")
    with tempfile.TemporaryDirectory(prefix="gpu-") as scratch:
        call = Call(
            data_dir=options.data_dir,
            minutes=options.minutes,
            out=options.out,
            device=torch.device(devices.pick_device(options.device)),
            execution=getattr(options, "execution", "auto"),
            dry_run=options.dry_run,
            seed=options.seed,
            models=tuple(getattr(options, "models", ())),
            model=getattr(options, "model", None),
            runs=getattr(options, "runs", None),
            changes={name: value for name in CHANGES if (value := getattr(options, name, None)) is not None},
            scratch=Path(scratch),
            began=began,
        )
        STAGES[options.kind](call)


if __name__ == "__main__":
    sys.exit(main())
