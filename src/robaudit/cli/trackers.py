"""Numbers to an experiment tracker, by its own client: MLflow, Weights & Biases or TensorBoard, each an extra.

Where they go is the client's own business: `MLFLOW_TRACKING_URI`, `WANDB_MODE=offline` and so on hold as ever.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from robaudit.cli.help import one_of
from robaudit.cli.streams import complain
from robaudit.errors import RobauditError
from robaudit.escaping import plain
from robaudit.spelling import unknown
from robaudit.torchrun import is_first_process

if TYPE_CHECKING:
    from robaudit.training import StepResult, TrainProgress

#: What the runs belong to.
PROJECT = "robaudit"
#: Characters of a setting.
_LONGEST = 250
#: Takes numbers by name, and the step that they are of.
Log = Callable[[Mapping[str, float], int], None]


def check_tracker(kind: str | None) -> None:
    """Nothing, if it is known and installed; asked before any work is done.

    Raises:
        RobauditError: it is not.

    """
    if kind is None:
        return
    if kind not in TRACKERS:
        raise RobauditError(unknown("log", kind, TRACKERS))
    try:
        there = importlib.util.find_spec(kind) is not None
    except ValueError:  # a module that says nothing of where it came from
        there = False
    if not there:
        raise RobauditError(f"--log {kind}: {kind} is not installed; pip install 'robaudit[{kind}]'")


def try_tracker(kind: str | None) -> None:
    """Nothing, if the tracker takes runs where it is told to send them; asked before hours of work for it.

    Raises:
        RobauditError: it does not.

    """
    trial = _TRIALS.get(kind or "")
    if trial is None or not is_first_process():
        return
    try:
        trial()
    except Exception as error:
        raise _unstartable(str(kind), error) from error


def _unstartable(kind: str, error: Exception) -> RobauditError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return RobauditError(f"--log {kind}: cannot be started ({reason}); see its own settings")


@contextmanager
def tracked(kind: str | None, name: str, settings: Mapping[str, Any], folder: Path) -> Iterator[Log]:
    """A run of a tracker while the block runs, called failed where that fails.

    Args:
        kind: a key of `TRACKERS`; None logs nothing.
        name: of the run.
        settings: of it, as text.
        folder: where TensorBoard writes; the others write where their clients are told to.

    Raises:
        RobauditError: the client cannot be started.

    """
    if kind is None:
        yield lambda values, step: None
        return
    text = {key: plain(value)[:_LONGEST] for key, value in settings.items()}
    try:
        log, finish = TRACKERS[kind](plain(name)[:_LONGEST], text, folder)
    except Exception as error:
        raise _unstartable(kind, error) from error
    try:
        yield log
    except BaseException:
        finish(False)
        raise
    finish(True)


def _tensorboard(name: str, settings: dict[str, str], folder: Path) -> tuple[Log, Callable[[bool], None]]:
    from torch.utils.tensorboard import SummaryWriter

    if folder.is_symlink():
        raise RobauditError(f"{folder}: is a link; remove it")
    writer = SummaryWriter(str(folder))
    writer.add_text("settings", "\n".join(f"    {key}: {value}" for key, value in settings.items()))

    def log(values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)
        writer.flush()

    return log, lambda well: writer.close()


def _mlflow(name: str, settings: dict[str, str], folder: Path) -> tuple[Log, Callable[[bool], None]]:
    import mlflow

    mlflow.set_experiment(PROJECT)
    mlflow.start_run(run_name=name)
    mlflow.log_params(settings)

    def log(values: Mapping[str, float], step: int) -> None:
        mlflow.log_metrics(dict(values), step=step)

    return log, lambda well: mlflow.end_run("FINISHED" if well else "FAILED")


def _try_mlflow() -> None:
    import mlflow

    # Its client tries for minutes where nobody answers; here twice will do.
    tries = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    given = os.environ.get(tries)
    os.environ[tries] = given or "1"
    try:
        mlflow.set_experiment(PROJECT)
    finally:
        if given is None:
            del os.environ[tries]


def _wandb(name: str, settings: dict[str, str], folder: Path) -> tuple[Log, Callable[[bool], None]]:
    import wandb

    run = wandb.init(project=PROJECT, name=name, config=settings)
    return lambda values, step: run.log(dict(values), step=step), lambda well: run.finish(
        exit_code=0 if well else 1
    )


#: What `--log` takes.
TRACKERS: dict[str, Callable[[str, dict[str, str], Path], tuple[Log, Callable[[bool], None]]]] = {
    "mlflow": _mlflow,
    "wandb": _wandb,
    "tensorboard": _tensorboard,
}
#: Those whose place may be one that cannot be used, and how that is told early.
_TRIALS: dict[str, Callable[[], None]] = {"mlflow": _try_mlflow}
#: `--log` of every command that has it.
LOG_OPTION: Any = typer.Option(
    None,
    "--log",
    help="Log the numbers by mlflow, wandb or tensorboard, where its extra is installed.",
    autocompletion=one_of(TRACKERS),
    rich_help_panel="Output",
)


class Tracked:
    """Logs every epoch's numbers and passes everything on."""

    def __init__(self, log: Log, then: TrainProgress) -> None:
        self._log, self._then = log, then

    def begin_epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """Passed on."""
        self._then.begin_epoch(epoch, epochs, steps, done)

    def step(self, result: StepResult) -> None:
        """Passed on."""
        self._then.step(result)

    def end_epoch(self, row: dict[str, Any]) -> None:
        """One point on every curve."""
        self._log(
            {
                key: float(value)
                for key, value in row.items()
                if isinstance(value, int | float) and key != "epoch"
            },
            int(row["epoch"]),
        )
        self._then.end_epoch(row)

    def note(self, text: str) -> None:
        """Passed on."""
        self._then.note(text)


def log_report(
    kind: str | None, report: Mapping[str, Any], settings: Mapping[str, Any], folder: Path
) -> None:
    """One audit's report, as `check --json` writes it, as a run of its own.

    What goes wrong is told and no more: the audit is done, and its verdict stands.
    """
    if kind is None:
        return
    model = report["model"]
    about = {
        "model": model["path"],
        "digest": model.get("digest", ""),
        "dataset": report["data"]["name"],
        "norm": report["threat"]["norm"],
        "eps": report["threat"]["eps"],
        "outcome": report["verdict"]["outcome"],
    }
    values = {f"accuracy/{name}": item["value"] for name, item in report["accuracy"].items()}
    values |= {f"gap/{name}": item["value"] for name, item in report["gap"].items()}
    values |= {name: value for name, value in report["metrics"].items() if isinstance(value, int | float)}
    values["overestimated"] = float(report["verdict"]["outcome"] == "overestimated")
    name = re.sub(r"^\.+|[^\w.,=+-]", "_", Path(str(model["path"])).stem)[:_LONGEST] or "_"
    try:
        with tracked(kind, name, about | dict(settings), folder / name) as log:
            log(values, 0)
    except RobauditError as error:
        complain(f"{error}; the audit is done and not in it")
    except Exception as error:  # a client of anybody's may raise anything
        complain(
            f"--log {kind}: failed ({type(error).__name__}: {error!s:.200}); the audit is done and not in it"
        )
