"""One checkpoint or many through the audit, and what is printed of them."""

from __future__ import annotations

import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robaudit.cli.common import console, exists, exit_code, write_text
from robaudit.cli.streams import complain
from robaudit.cli.waiting import working
from robaudit.errors import RobauditError
from robaudit.escaping import plain
from robaudit.factory_names import is_factory, is_fetched
from robaudit.files import read_text
from robaudit.torchrun import is_first_process

if TYPE_CHECKING:
    from torch import nn

    from robaudit.cli.check_reports import Outputs
    from robaudit.evidence import Evidence
    from robaudit.inputs import Images
    from robaudit.plan import AuditPlan
    from robaudit.verdict import Claim, Verdict

COULD_NOT_AUDIT = 2
_OURS = Path(__file__).resolve().parents[1]
#: Where Python's own modules and installed packages lie, by the names of `sysconfig`.
_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")
#: Bytes of a list of checkpoints, and how many it may name.
_LARGEST_LIST, _MOST_LISTED = 16 << 20, 10_000


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
    surrogate: str | None = None
    transfer: str | None = None


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
    """The checkpoints named, those listed in `.txt` files included (one a line, # for comments).

    Raises:
        RobauditError: a list cannot be read, is too long, or names code or what is to be fetched; or none is named.

    """
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
        listed = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
        if len(listed) > _MOST_LISTED:
            raise RobauditError(
                f"{name}: lists {len(listed):,} checkpoints, more than {_MOST_LISTED:,}; split it"
            )
        for line in listed:
            if (is_factory(line) or is_fetched(line)) and not exists(line):
                what = "code" if is_factory(line) else "what is to be fetched"
                raise RobauditError(
                    f"{name}: names {what} ('{line}'), which a list may not; write it on the command line"
                )
        found += listed
    if not found:
        raise RobauditError(f"{', '.join(models)}: lists no checkpoint; give one path a line")
    return found


def check_one(model: str, images: Images, request: CheckRequest, evidence: Path | None) -> Checked:
    """Audit one checkpoint on the plan's part of the images; what it is is told by all of them.

    Raises:
        RobauditError: it could not be audited.

    """
    from robaudit.audit import audit, default_evidence, progress_bars, with_helpers
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
    helpers = _helpers(images, request)
    plan = with_helpers(request.plan, helpers)
    path = evidence or default_evidence(model, classifier.info, plan, images)
    _tell_resumed(path)
    with progress_bars(quiet=request.quiet) as bars:
        found = audit(
            classifier,
            images.subset(request.plan.limit, request.plan.seed),
            plan,
            path=path,
            device=request.device,
            progress=bars,
            force=request.force,
            claim=request.claim,
            helpers=helpers,
        )
    return Checked(model, path, found, judge(found, request.claim))


def _helpers(images: Images, request: CheckRequest) -> dict[str, nn.Module]:
    """The models of `--surrogate` and `--transfer`.

    Raises:
        RobauditError: one cannot be loaded; what is advised is about it, not about the model under audit.

    """
    from robaudit.inputs import load_helpers

    found: dict[str, nn.Module] = {}
    for flag in ("surrogate", "transfer"):
        wanted: dict[str, Any] = {"surrogate": None, "transfer": None, flag: getattr(request, flag)}
        try:
            found |= load_helpers(images, **wanted, trust_program=request.trust_program)
        except RobauditError as error:
            text = str(error)
            reason, mark, advice = text.rpartition("\n" if "\n" in text else "; ")
            if mark and "--dataset" in advice:
                text = f"{reason}; pass another --{flag}"
            raise RobauditError(f"--{flag} {text}") from error
    return found


def _tell_resumed(path: Path) -> None:
    """Say how far an unfinished audit has come; what is wrong with its file is told by whoever opens it to write."""
    from robaudit.evidence import EvidenceFile

    if not path.is_file():
        return
    try:
        if is_first_process():
            EvidenceFile.repair(path)
        with EvidenceFile.open(path) as file:
            found = file.read()
    except RobauditError:
        return
    if not found.header.finished and len(found):
        attacks = ", ".join(sorted(found.attacks)) or "no attack"
        complain(
            f"{path}: resuming, {len(found)} of {found.header.data['n']} examples already begun ({attacks})"
        )


def report_one(checked: Checked, outputs: Outputs, claim: Claim | None = None) -> int:
    """Print one report and write the files that are wanted; the exit code."""
    from robaudit.reports import as_json, terminal

    assert checked.evidence is not None
    assert checked.verdict is not None
    if not is_first_process():
        return checked.code
    if not outputs.quiet:
        out = console()
        out.print(terminal(checked.evidence, checked.verdict))
        hint = f"evidence: {checked.path}   (re-check it: robaudit verify {checked.path} {checked.model})"
        out.print(plain(hint), markup=False, soft_wrap=True)
    if outputs.json:
        write_text(outputs.json, as_json(checked.evidence, checked.verdict))
    outputs.write([checked], claim)
    return checked.code


def error_text(error: BaseException) -> str:
    """What is said of an error in a report of several checkpoints."""
    if isinstance(error, SystemExit):
        return str(ended(error))
    if isinstance(error, RobauditError):
        return str(error)
    return from_users_code(error) or f"{type(error).__name__}: {error}"


def from_users_code(error: BaseException) -> str:
    """What is said of an error that a user's own code raised, in a network's `forward`, say; empty where it is ours."""
    libraries = {Path(sysconfig.get_path(name)).resolve() for name in _LIBRARIES}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        place = Path(frame.filename).resolve()
        if place.is_relative_to(_OURS):
            return ""
        if not place.is_file() or any(place.is_relative_to(library) for library in libraries):
            continue
        reason = (str(error).strip().splitlines() or [""])[0]
        return (
            f"{frame.filename}:{frame.lineno}: {frame.name} failed with {type(error).__name__}"
            f"{f' ({reason:.200})' if reason else ''}; it is called with batches of images"
        )
    return ""


def ended(error: SystemExit) -> RobauditError:
    """What is said of a user's code that ended the program instead of returning."""
    return RobauditError(
        f"SystemExit({error.code!r:.80}): the code that was called ended the program; "
        "a factory must return a torch.nn.Module"
    )


def check_safely(model: str, images: Images, request: CheckRequest, evidence: Path | None) -> Checked:
    """`check_one`, but what goes wrong is its result."""
    try:
        return check_one(model, images, request, evidence)
    except (Exception, SystemExit) as error:
        text = error_text(error)
        return Checked(model, error=text or type(error).__name__)
