"""What `check` returns: the judgement, the numbers, the evidence, and the adversarial examples themselves."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from robaudit import files
from robaudit.errors import RobauditError
from robaudit.escaping import plain
from robaudit.evidence import Evidence, EvidenceFile, adversarial_images, one_each
from robaudit.places import expanded
from robaudit.reports import (
    REPORTS,
    headline,
    notebook,
    open_case,
    side_by_side,
    summary,
    terminal,
    terminal_text,
)
from robaudit.spelling import unknown
from robaudit.stats import Interval
from robaudit.verdict import Claim, Verdict, accuracy, gap, gaps, rows
from robaudit.wording import examples

if TYPE_CHECKING:
    import torch
    from rich.console import RenderableType

#: The report that `save` writes to a file with such an ending; to any other it writes the evidence.
ENDINGS = {
    ".html": "html",
    ".md": "markdown",
    ".json": "json",
    ".sarif": "sarif",
    ".xml": "junit",
    ".svg": "badge",
    ".txt": "terminal",
}


class Adversarial(NamedTuple):
    """An adversarial example of every example that an attack broke, in the order of the data.

    Attributes:
        x_adv: (M, C, H, W) float32 in [0, 1], inside the ball, misclassified in strict float32.
        y: (M,) int64, the true labels.
        ids: (M,) int64, where each example stands in the data.
        attacks: by which attack each was found.

    """

    x_adv: torch.Tensor
    y: torch.Tensor
    ids: torch.Tensor
    attacks: tuple[str, ...]


@dataclass(frozen=True, repr=False, eq=False)
class Result:
    """One audited model.

    Attributes:
        evidence: what was found, example by example.
        verdict: what that says: `outcome`, `summary`, `causes`, `confidence`, `decided_after`, `claim`.
        path: the evidence file.
        temporary: whether that lies in a folder that goes when this object does.

    """

    evidence: Evidence
    verdict: Verdict
    path: Path
    temporary: bool = False

    @classmethod
    def open(cls, path: str | Path, *, claim: Claim | None = None) -> Self:
        """The result that an evidence file holds.

        Raises:
            RobauditError: the file is missing, damaged or of another schema, or no example is finished.

        """
        found = open_case(Path(path), claim=claim, unfinished=True)
        return cls(found.evidence, found.verdict, Path(path))

    @cached_property
    def accuracy(self) -> dict[str, Interval]:
        """Accuracy by attack (`clean`, `pgd10`, `autoattack` ...): `value`, `low`, `high`, and `n` examples."""
        named = {name: accuracy(self.evidence, name) for name in rows(self.evidence)}
        return {name: found for name, found in named.items() if found}

    @cached_property
    def gap(self) -> dict[str, Interval]:
        """How much more robust accuracy PGD-10 reports: `pgd10-square` and `pgd10-autoattack`, as fractions."""
        named = {name: gap(self.evidence, name) for name in gaps(self.evidence)}
        return {name: found for name, found in named.items() if found}

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """Means over PGD-10's trajectories: `fosc`, `fosc_normalised`, `sgcs`, `zero_gradients`."""
        found: dict[str, float | None] = self.to_dict()["metrics"]
        return found

    @cached_property
    def adversarial(self) -> Adversarial:
        """The adversarial examples, one of every broken example; another attack's before PGD-10's.

        Raises:
            RobauditError: the evidence file is gone or damaged.

        """
        import torch  # noqa: PLC0415  a result can be read without it

        with EvidenceFile.open(self.path) as file:
            witnesses = file.witnesses()
        ordered = one_each(witnesses)
        try:
            x_adv = torch.from_numpy(adversarial_images(ordered, self.evidence.header))
        except RobauditError as error:
            raise RobauditError(f"{self.path}: {error}") from error
        labels, ids = ([getattr(row, name) for row in ordered] for name in ("label", "id"))
        return Adversarial(
            x_adv,
            torch.tensor(labels, dtype=torch.int64),
            torch.tensor(ids, dtype=torch.int64),
            tuple(row.attack for row in ordered),
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything in the form that `robaudit check --json` writes."""
        return summary(self.evidence, self.verdict)

    def report(self, format: str = "terminal") -> str:
        """The report as text: terminal, html, markdown, json, junit, sarif or badge.

        Raises:
            RobauditError: no such format, or the evidence file is gone.

        """
        if format not in REPORTS:
            raise RobauditError(unknown("format", format, REPORTS))
        claim = self.verdict.claim.claim if self.verdict.claim else None
        case = open_case(self.path, claim=claim, pictures=format == "html", unfinished=True)
        # The file may have been gone on with since.
        case = replace(case, evidence=self.evidence, verdict=self.verdict, data=self.to_dict())
        return REPORTS[format](replace(case, source="") if self.temporary else case)

    def save(self, path: str | Path) -> Path:
        """Write the evidence file to `path`, or by its ending a report: .html, .md, .json, .sarif, .xml, .svg, .txt.

        Raises:
            RobauditError: the place cannot be written, or the evidence file is gone.

        """
        target = expanded(path)
        try:
            if target.suffix in ENDINGS:
                files.write_text(target, self.report(ENDINGS[target.suffix]))
            elif not (target.exists() and target.samefile(self.path)):
                with files.replacing(target) as partial:
                    shutil.copyfile(self.path, partial)
        except OSError as error:
            raise RobauditError(
                f"{path}: cannot be written ({error.strerror}); choose another path"
            ) from error
        return target

    def __repr__(self) -> str:
        shown = side_by_side(self.evidence)
        wanted = ("clean", "pgd10", "square", "autoattack")
        found = [
            f"{row['title']} {100 * row['value']:.1f} %"
            for row in shown["rows"]
            if row["name"] in wanted and not row.get("after")
        ]
        model = plain(self.evidence.header.model["path"])
        return (
            f"Result of {model}: {self.verdict.outcome} after {examples(len(self.evidence))}\n"
            f"  {headline(self.evidence)}\n"
            f"  {', '.join(found)} (the same {examples(shown['examples'])})\n"
            f"  {plain(self.verdict.summary)}"
        )

    def __str__(self) -> str:
        return terminal_text(self.evidence, self.verdict).rstrip()

    def __rich__(self) -> RenderableType:
        return terminal(self.evidence, self.verdict)

    def _repr_html_(self) -> str:
        return notebook(self.evidence, self.verdict)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}
