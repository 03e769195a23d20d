"""What a policy makes of a checkpoint: its evidence found, made or checked, and judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from robaudit.cli.auditing import CheckRequest, check_one, error_text
from robaudit.cli.common import exit_code
from robaudit.cli.data import DataRequest
from robaudit.cli.gate_evidence import evidence_place, expect_content, expect_policy, precise_enough, recheck
from robaudit.errors import RobauditError

if TYPE_CHECKING:
    from robaudit.cli.policy import Policy
    from robaudit.inputs import Images
    from robaudit.reports import Case, Failure
    from robaudit.verdict import Claim

#: How far evidence is checked that is still there from an earlier run.
_KEPT = "The evidence is an earlier run's and was not checked again."


@dataclass(frozen=True)
class Judged:
    """One checkpoint: its case, the exit code it gives, and how that came about."""

    case: Case | Failure
    code: int
    message: str


@dataclass(frozen=True)
class Gate:
    """One data set's policy, and the images once they are needed."""

    rules: Policy
    verify: bool
    device: str
    trust_program: bool

    @cached_property
    def _images(self) -> Images:
        rules = self.rules
        request = DataRequest(
            rules.dataset, rules.data_dir, rules.split, rules.plan.seed, image_size=rules.image_size
        )
        return request.load()

    def _images_at_hand(self) -> Images | None:
        """The images, or None where the data set is not here."""
        try:
            return self._images
        except RobauditError:
            return None

    def _images_for_verifying(self) -> Images | None:
        """The images; they may be missing only where nothing is to be attacked again."""
        return self._images if self.rules.recompute else self._images_at_hand()

    def judge(self, model: Path) -> Judged:
        """One checkpoint; what cannot be audited does not stop the rest."""
        from robaudit.reports import Failure

        waiver = self.rules.waiver(model)
        minimum = self.rules.minimum if waiver is None or waiver.minimum is None else waiver.minimum
        try:
            case, how = self._case(model, minimum)
        except (Exception, SystemExit) as error:
            text = error_text(error)
            return Judged(Failure(str(model), text), 2, f"could not audit: {text.splitlines()[0]}")
        case = replace(case, ignored=self._ignored(model, case))
        code = exit_code(case.verdict, case.ignored)
        standing = {0: "pass", 1: "fail", 3: "inconclusive"}[code]
        message = f"{'FAIL' if code == 1 else standing} ({how}): {_reason(case)}"
        for name, why in case.ignored.items():
            message += f" Ignored {why} ({name})."
        if code and waiver is not None and waiver.minimum is None:
            code, standing = 0, f"waived until {waiver.expires}: {waiver.reason}"
            message += f" {standing.capitalize()}."
        return Judged(replace(case, standing=standing), code, message)

    def _ignored(self, model: Path, case: Case) -> dict[str, str]:
        """What the policy ignores of that which was found."""
        from robaudit.reports import codes_of

        return {name: why for name, why in self.rules.ignored_of(model).items() if name in codes_of(case)}

    def _case(self, model: Path, minimum: float | None) -> tuple[Case, str]:
        from robaudit.evidence import EvidenceFile
        from robaudit.reports import open_case
        from robaudit.verdict import Claim, is_complete

        claim = None if minimum is None else Claim(minimum, demanded=True)
        path = evidence_place(model, self.rules)
        if path.is_symlink():  # it would be written through
            raise RobauditError(f"{path}: is a link; remove it")
        if self.verify:
            done = recheck(
                path,
                model,
                self.rules,
                self.device,
                self._images_for_verifying(),
                trust_program=self.trust_program,
            )
            case = open_case(path, claim=claim)
            vague = case.verdict.settled and not is_complete(case.evidence, case.verdict)
            if vague or not precise_enough(case.evidence.header, self.rules):
                raise RobauditError(
                    f"{path}: knows AutoAttack's number less precisely than the policy asks; run `robaudit gate` "
                    "where it was made"
                )
            return replace(case, checked=done), "re-checked"
        if path.is_file():
            EvidenceFile.repair(path)
            with EvidenceFile.open(path) as file:
                header = file.header()
            expect_policy(path, header, self.rules)
            expect_content(path, header, model, self.rules, self._images_at_hand())
            if header.finished and precise_enough(header, self.rules):
                known = open_case(path, claim=claim)
                if is_complete(known.evidence, known.verdict):
                    return replace(known, checked=_KEPT), "unchanged"
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


def _reason(case: Case) -> str:
    from robaudit.reports import asked_texts

    data = case.data
    texts = [data["headline"]["sentence"], data["verdict"]["summary"], *asked_texts(data), case.checked]
    return " ".join(text for text in texts if text)
