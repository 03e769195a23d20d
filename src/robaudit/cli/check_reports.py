"""The reports that `robaudit check` writes beside what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from robaudit.cli.auditing import Checked
from robaudit.cli.common import check_apart, check_writable, write_text
from robaudit.cli.trackers import log_report
from robaudit.errors import RobauditError

if TYPE_CHECKING:
    from robaudit.reports import Case
    from robaudit.verdict import Claim


@dataclass(frozen=True)
class Outputs:
    """Where each report goes; None for nowhere, `-` for standard output, on which then nothing else is printed.

    `log` is the tracker that is told of each audit.
    """

    json: str | None = None
    html: str | None = None
    markdown: str | None = None
    sarif: str | None = None
    board: Path | None = None
    log: str | None = None

    def check(self, paths: list[str], evidence: Path | None, inputs: Sequence[str | None]) -> None:
        """Nothing, if all can be written.

        Args:
            paths: the checkpoints.
            evidence: where it goes.
            inputs: what else is read.

        Raises:
            RobauditError: one cannot, two are one file, or one page is to hold several checkpoints.

        """
        places = self._places
        board = self.board
        for place in places.values():
            check_writable(place)
        if board is not None and board.exists() and not board.is_dir():
            raise RobauditError(f"{board}: is not a folder; --board wants one")
        check_apart(inputs=[*paths, *inputs], evidence=evidence, **places)
        if self.html and len(paths) > 1:
            raise RobauditError(
                f"{self.html}: one page holds one checkpoint, here are {len(paths)}; "
                "pass --markdown, or `robaudit report` for each evidence"
            )

    @property
    def quiet(self) -> bool:
        """Whether standard output is one of the reports'."""
        return "-" in self._places.values()

    @property
    def _places(self) -> dict[str, str | None]:
        return {name: place for name, place in asdict(self).items() if name not in ("board", "log")}

    def write(self, results: Sequence[Checked], claim: Claim | None = None) -> None:
        """Write them all but the JSON, which `report_one` and `check_many` write; `claim` is judged in them too."""
        if self.board is not None:
            self._show_board(results, self.board)
        from robaudit.reports import REPORTS, REPORTS_OF_SEVERAL, Failure, open_case, summary

        for item in results:
            if self.log and item.evidence is not None and item.verdict is not None:
                log_report(self.log, summary(item.evidence, item.verdict), {}, Path("runs"))
        wanted = {name: place for name, place in self._places.items() if place and name != "json"}
        if not wanted:
            return
        cases: list[Case | Failure] = []
        for item in results:
            if item.path is None or item.evidence is None:
                cases.append(Failure(item.model, item.error))
            else:
                cases.append(open_case(item.path, claim=claim, pictures="html" in wanted))
        for name, place in wanted.items():
            text = (
                REPORTS_OF_SEVERAL[name](cases)
                if name in REPORTS_OF_SEVERAL
                else REPORTS[name](cast("Case", cases[0]))
            )
            write_text(place, text)

    @staticmethod
    def _show_board(results: Sequence[Checked], folder: Path) -> None:
        from robaudit.cli.board import opened, publish
        from robaudit.reports import Failure

        publish(
            [opened(item.path) if item.path else Failure(item.model, item.error) for item in results], folder
        )
