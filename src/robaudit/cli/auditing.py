"""One checkpoint or many through the audit, and what is printed of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robaudit.cli.common import console, exit_code, write_text
from robaudit.cli.streams import complain
from robaudit.cli.waiting import working
from robaudit.errors import RobauditError
from robaudit.escaping import json_text, plain
from robaudit.files import read_text

if TYPE_CHECKING:
    from robaudit.evidence import Evidence
    from robaudit.inputs import Images
    from robaudit.plan import AuditPlan
    from robaudit.verdict import Claim, Verdict

COULD_NOT_AUDIT = 2
#: Rows of the table of one checkpoint that that of several has as columns.
_COLUMNS = ("clean", "pgd10", "square", "autoattack")
#: Bytes of a list of checkpoints.
_LARGEST_LIST = 16 << 20


@dataclass(frozen=True)
class CheckRequest:
    """What the flags say of every checkpoint of one call."""

    plan: AuditPlan
    claim: Claim | None
    arch: str | None
    normalise: str | None
    key: str | None
    device: str
    force: bool
    quiet: bool
    trust_program: bool = False


@dataclass(frozen=True)
class Checked:
    """One checkpoint's audit; `evidence` and `verdict` are None where it could not be audited, because of `error`."""

    model: str
    path: Path | None = None
    evidence: Evidence | None = None
    verdict: Verdict | None = None
    error: str = ""

    @property
    def code(self) -> int:
        """The exit code that this checkpoint alone would give."""
        return exit_code(self.verdict) if self.verdict else COULD_NOT_AUDIT


def expand(models: list[str]) -> list[str]:
    """The checkpoints named, those listed in `.txt` files included (one a line, # for comments)."""
    found: list[str] = []
    for name in models:
        if not name.endswith(".txt"):
            found.append(name)
            continue
        try:
            lines = read_text(Path(name), _LARGEST_LIST).splitlines()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RobauditError(
                f"{name}: cannot be read as a list of checkpoints ({reason}); give one path a line"
            ) from error
        found += [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if not found:
        raise RobauditError(f"{', '.join(models)}: lists no checkpoint; give one path a line")
    return found


def check_one(model: str, images: Images, request: CheckRequest, evidence: Path | None) -> Checked:
    """Audit one checkpoint on the plan's part of the images; what it is is told by all of them.

    Raises:
        RobauditError: it could not be audited.

    """
    from robaudit.audit import audit, default_evidence, progress_bars
    from robaudit.inputs import load_classifier
    from robaudit.verdict import judge

    with working(
        f"{model}: which architecture and normalisation fit its tensors and the images", request.quiet
    ):
        classifier = load_classifier(
            model,
            arch=request.arch,
            normalise=request.normalise,
            key=request.key,
            images=images,
            force=request.force,
            trust_program=request.trust_program,
        )
    path = evidence or default_evidence(model, classifier.info, request.plan, images)
    _tell_resumed(path)
    with progress_bars(quiet=request.quiet) as bars:
        found = audit(
            classifier,
            images.subset(request.plan.limit, request.plan.seed),
            request.plan,
            path=path,
            device=request.device,
            progress=bars,
            force=request.force,
            claim=request.claim,
        )
    return Checked(model, path, found, judge(found, request.claim))


def _tell_resumed(path: Path) -> None:
    """Say how far an unfinished audit has come; what is wrong with its file is told by whoever opens it to write."""
    from robaudit.evidence import EvidenceFile

    if not path.is_file():
        return
    try:
        with EvidenceFile.open(path) as file:
            found = file.read()
    except RobauditError:
        return
    if not found.header.finished and len(found):
        attacks = ", ".join(sorted(found.attacks)) or "no attack"
        complain(
            f"{path}: resuming, {len(found)} of {found.header.data['n']} examples already begun ({attacks})"
        )


def report_one(checked: Checked, json_path: str | None) -> int:
    """Print one report and write its JSON; the exit code."""
    from robaudit.reports import as_json, terminal

    assert checked.evidence is not None
    assert checked.verdict is not None
    if json_path != "-":
        out = console()
        out.print(terminal(checked.evidence, checked.verdict))
        hint = f"evidence: {checked.path}   (re-check it: robaudit verify {checked.path} {checked.model})"
        out.print(plain(hint), markup=False, soft_wrap=True)
    if json_path:
        write_text(json_path, as_json(checked.evidence, checked.verdict))
    return checked.code


def check_safely(model: str, images: Images, request: CheckRequest, evidence: Path | None) -> Checked:
    """`check_one`, but what goes wrong is its result."""
    try:
        return check_one(model, images, request, evidence)
    except Exception as error:
        text = str(error) if isinstance(error, RobauditError) else f"{type(error).__name__}: {error}"
        return Checked(model, error=text or type(error).__name__)


def check_many(
    results: Iterable[Checked], *, quiet: bool, json_path: str | None, board: Path | None = None
) -> int:
    """Report several audits as they come; one that failed is a row of the table.

    The exit code is the gravest: 1, then 2, 3, 0.
    """
    from robaudit.evidence import SCHEMA

    out = console()
    found = []
    for checked in results:
        found.append(checked)
        if not quiet:
            out.print(_line(checked), markup=False, soft_wrap=True)
    if not quiet:
        out.print(_table(found))
    if json_path:
        reports = [_data(item) for item in found]
        write_text(json_path, json_text({"schema": SCHEMA, "reports": reports}))
    show_board(found, board)
    return next(code for code in (1, COULD_NOT_AUDIT, 3, 0) if code in {item.code for item in found})


def show_board(results: list[Checked], folder: Path | None) -> None:
    """A static page of these audits, where a folder for one was named."""
    if folder is None:
        return
    from robaudit.cli.board import opened, publish
    from robaudit.reports import Failure

    publish([opened(item.path) if item.path else Failure(item.model, item.error) for item in results], folder)


def _line(checked: Checked) -> str:
    from robaudit.reports import headline

    message = checked.error.splitlines()[0].removeprefix(f"{checked.model}: ") if checked.error else ""
    if checked.evidence is not None and checked.verdict is not None:
        message = f"{headline(checked.evidence)} {checked.verdict.summary}"
    return plain(f"{checked.model}: {message}")


def _cell(row: dict[str, Any]) -> str:
    reduced = " (reduced)" if row["title"].endswith("(reduced)") else ""
    return f"{100 * row['value']:.1f}{reduced}"


def _table(results: list[Checked]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from robaudit.plan import title
    from robaudit.reports import side_by_side

    table = Table(box=None, pad_edge=False)
    table.add_column("checkpoint", overflow="fold")
    table.add_column("verdict")
    for column in _COLUMNS:
        table.add_column(title(column), justify="right")
    table.add_column("examples", justify="right")
    for item in results:
        name = Text(plain(item.model))
        if item.evidence is None or item.verdict is None:
            table.add_row(name, "could not audit")
            continue
        shown = side_by_side(item.evidence)
        found = {row["name"]: row for row in shown["rows"] if not row.get("after")}
        cells = [_cell(found[key]) if key in found else "" for key in _COLUMNS]
        table.add_row(name, item.verdict.outcome, *cells, str(shown["examples"]))
    return table


def _data(checked: Checked) -> dict[str, Any]:
    from robaudit.reports import summary

    if checked.evidence is None or checked.verdict is None:
        return {"model": {"path": checked.model}, "error": checked.error}
    return summary(checked.evidence, checked.verdict)
