"""`robaudit gate`: every checkpoint of a project against its policy; only new or changed ones are audited."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robaudit.cli.auditing import CheckRequest, check_one
from robaudit.cli.common import (
    TRUST_HELP,
    check_apart,
    check_writable,
    console,
    exit_code,
    image_classes,
    image_shape,
    write_text,
)
from robaudit.cli.data import DataRequest
from robaudit.errors import RobauditError
from robaudit.escaping import plain

if TYPE_CHECKING:
    from robaudit.cli.policy import Policy, Waiver
    from robaudit.inputs import Images
    from robaudit.reports import Case, Failure
    from robaudit.verdict import Claim


@dataclass(frozen=True)
class Judged:
    """One checkpoint: its case, the exit code it gives, and how that came about."""

    case: Case | Failure
    code: int
    message: str


def gate(
    models: list[Path] = typer.Argument(
        None, help="Checkpoints; by default those the policy names.", metavar="[MODEL]..."
    ),
    policy: Path | None = typer.Option(
        None, help="robaudit.toml or pyproject.toml; by default the one here."
    ),
    verify: bool = typer.Option(
        False, "--verify", help="Attack nothing: re-check the evidence that was made elsewhere, and judge it."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda …"),
    markdown: str | None = typer.Option(None, help="Write a Markdown report, such as a step summary."),
    sarif: str | None = typer.Option(None, help="Write SARIF 2.1.0."),
    junit: str | None = typer.Option(None, help="Write JUnit XML."),
    json_path: str | None = typer.Option(None, "--json", help="Write the reports as JSON."),
    trust_program: bool = typer.Option(
        False, "--trust-program", help=f"{TRUST_HELP} A policy cannot say so."
    ),
) -> int:
    """Hold checkpoints against the project's policy.

    Evidence is kept by the content of checkpoint and policy, so what did not change is not attacked again. Exit
    codes: 0 all pass; 1 one fails; 2 one could not be audited, or an exception has expired; 3 one is inconclusive.

    Example: robaudit gate --sarif robaudit.sarif --markdown summary.md
    """
    from robaudit.cli.policy import find_policy, read_policy
    from robaudit.devices import pick_device
    from robaudit.reports import MANY

    outputs = {"markdown": markdown, "sarif": sarif, "junit": junit, "json": json_path}
    for place in outputs.values():
        check_writable(place)
    rules = read_policy(find_policy(policy))
    check_apart(policy=rules.path, **outputs)
    _refuse_expired(rules, datetime.datetime.now(tz=datetime.UTC).date())
    held = _Gate(rules, verify, pick_device(device), trust_program)
    found = [held.judge(path) for path in _checkpoints(rules, models or [])]
    for name, place in outputs.items():
        if place:
            write_text(place, MANY[name]([item.case for item in found]))

    for item in found:
        console().print(plain(f"{item.case.name}: {item.message}"), markup=False, soft_wrap=True)
    return next(code for code in (1, 2, 3, 0) if code in {item.code for item in found})


def _refuse_expired(rules: Policy, today: datetime.date) -> None:
    expired = rules.expired(today)
    if expired:
        raise RobauditError(
            f"{rules.path}: the exception for '{expired.model}' expired on {expired.expires} ({expired.reason})\n"
            "Fix the model and remove the exception, or give it another date."
        )


def _checkpoints(rules: Policy, named: list[Path]) -> list[Path]:
    if named:
        return named
    found: list[Path] = []
    for pattern in rules.models:
        try:
            matches = sorted(path for path in rules.path.parent.glob(pattern) if path.is_file())
        except (NotImplementedError, ValueError, OSError) as error:
            raise RobauditError(
                f"{rules.path}: models '{pattern}' is no pattern ({error}); correct it"
            ) from error
        if not matches:
            raise RobauditError(f"{rules.path}: models '{pattern}' fits no file; correct it")
        found += [path for path in matches if path not in found]
    if not found:
        raise RobauditError(f'{rules.path}: names no models; add models = ["models/*.safetensors"]')
    return found


@dataclass(frozen=True)
class _Gate:
    rules: Policy
    verify: bool
    device: str
    trust_program: bool

    @cached_property
    def _images(self) -> Images:
        rules = self.rules
        request = DataRequest(rules.dataset, rules.data_dir, rules.split, rules.plan.seed)
        return request.load()

    def judge(self, model: Path) -> Judged:
        """One checkpoint; what cannot be audited does not stop the rest."""
        from robaudit.reports import Failure

        waiver = self.rules.waiver(model)
        minimum = self.rules.minimum if waiver is None or waiver.minimum is None else waiver.minimum
        try:
            case, how = self._case(model, minimum)
        except Exception as error:
            text = str(error) if isinstance(error, RobauditError) else f"{type(error).__name__}: {error}"
            return Judged(Failure(str(model), text), 2, f"could not audit: {text.splitlines()[0]}")
        code = exit_code(case.verdict)
        message = f"{('pass', 'FAIL', '', 'inconclusive')[code]} ({how}): {_reason(case, minimum)}"
        if code and waiver is not None and waiver.minimum is None:
            return Judged(case, 0, f"{message} Waived {_until(waiver)}.")
        return Judged(case, code, message)

    def _case(self, model: Path, minimum: float | None) -> tuple[Case, str]:
        from robaudit.reports import open_case
        from robaudit.verdict import Claim

        claim = None if minimum is None else Claim(minimum)
        path = self._place(model)
        if self.verify:
            _recheck(path, model, self)
            return open_case(path, claim=claim), "re-checked"
        if path.is_file():
            known = open_case(path, claim=claim, unfinished=True)
            audited, wanted = len(known.evidence), int(known.data["data"]["n"])
            if known.evidence.header.finished and (known.verdict.settled or audited == wanted):
                return known, "unchanged"
        self._audit(model, path, claim)
        return open_case(path, claim=claim), "audited"

    def _audit(self, model: Path, path: Path, claim: Claim | None) -> None:
        rules = self.rules
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RobauditError(
                f"{path.parent}: cannot be created ({error.strerror}); choose another evidence"
            ) from error
        request = CheckRequest(
            plan=rules.plan,
            claim=claim,
            arch=rules.arch,
            normalise=rules.normalise,
            key=None,
            device=self.device,
            force=False,
            quiet=False,
            trust_program=self.trust_program,
        )
        check_one(str(model), self._images, request, path)

    def _place(self, model: Path) -> Path:
        """The evidence file that this content of checkpoint, data and policy has; nothing else is taken for it."""
        import hashlib
        import json

        rules = self.rules
        parts = [
            _digest(model),
            _digest(Path(rules.dataset)),
            rules.dataset if not Path(rules.dataset).exists() else "",
        ]
        text = json.dumps(
            [*parts, rules.split, rules.arch, rules.normalise, rules.plan.to_dict()], sort_keys=True
        )
        return rules.evidence / f"{model.stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.evidence"


def _recheck(path: Path, model: Path, held: _Gate) -> None:
    rules = held.rules
    from robaudit.audit import verify
    from robaudit.evidence import EvidenceFile
    from robaudit.inputs import load_classifier

    if not path.is_file():
        raise RobauditError(
            f"{model}: no evidence of this content in {path.parent}; run `robaudit gate` first"
        )
    with EvidenceFile.open(path) as file:
        header = file.header()
    if rules.arch not in (None, header.model["architecture"]) or header.plan != rules.plan:
        raise RobauditError(f"{path}: evidence of another policy; run `robaudit gate` where it was made")
    recorded = rules.arch or header.model["architecture"]
    from robaudit.inputs import is_factory

    if rules.arch is None and is_factory(recorded):
        raise RobauditError(
            f"{path}: was made with code of its own ({recorded}); name it as arch in the policy"
        )
    classifier = load_classifier(
        str(model),
        arch=recorded,
        normalise=header.model["normalisation"],
        shape=image_shape(header),
        classes=image_classes(header),
        trust_program=held.trust_program,
    )
    result = verify(path, classifier, held.device)
    if result.failures:
        raise RobauditError(
            f"{path}: {len(result.failures)} of {result.witnesses} witnesses fail: {result.failures[0]}"
        )


def _digest(path: Path) -> str:
    """Of a file's bytes, or of a folder's names and sizes; empty where there is nothing."""
    import hashlib
    import json

    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    if path.is_dir():
        listing = sorted(
            (str(item.relative_to(path)), item.stat().st_size) for item in path.rglob("*") if item.is_file()
        )
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
    return ""


def _reason(case: Case, minimum: float | None) -> str:
    data = case.data
    strongest = data["accuracy"].get("autoattack")
    left = f" AutoAttack leaves {100 * strongest['value']:.1f} %" if strongest else ""
    wanted = f", {100 * minimum:g} % are demanded." if minimum is not None and strongest else "."
    return f"{data['verdict']['summary']}{left}{wanted}" if left else str(data["verdict"]["summary"])


def _until(waiver: Waiver) -> str:
    return f"until {waiver.expires}: {waiver.reason}"
