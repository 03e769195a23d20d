"""What is seen of an audit while it runs."""

import io
import time

from rich.console import Console

from robaudit.audit import bars
from robaudit.audit.progress import Silent, tell_gaps
from robaudit.cli import waiting
from robaudit.evidence import EvidenceFile


class Ear:
    def look(self, text):
        self.text = text


def test_a_look_says_each_gap_with_its_interval_and_bound(audited):
    with EvidenceFile.open(audited / "masked.evidence") as file:
        evidence = file.read()
    ear = Ear()
    tell_gaps(ear, evidence)
    assert ear.text.count("PGD-10 − ") == 2
    assert "bound 8, of" in ear.text
    tell_gaps(Silent(), evidence)  # whoever has no `look` is not asked


def test_lines_are_written_at_each_attack_and_when_nothing_ends():
    said = []
    lines = bars.Lines(said.append, seconds=0.05)
    lines.begin("square", 10)
    lines.look("gap +3")
    lines.advance("square", 4, 1, 900)
    time.sleep(0.16)
    lines.end("square")
    lines.begin("square", 5)
    lines.close()
    assert said[0] == "Square: 10 to do"
    assert said[1].startswith("Square: 4 of 10 done, 1 broken")
    assert said[1].endswith("; gap +3")
    assert said[-1].startswith("Square: 4 done, 1 broken")
    assert sum(line.endswith("to do") for line in said) == 1
    count = len(said)
    time.sleep(0.08)
    assert len(said) == count


def test_a_terminal_shows_the_gaps_over_the_bars(monkeypatch):
    screen = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(bars, "Console", lambda **_: screen)
    with bars.progress_bars() as found:
        found.begin("pgd10", 64)
        found.advance("pgd10", 64, 3, 1280)
        found.end("pgd10")
        found.begin("pgd10", 32)
        found.look("PGD-10 − Square +3.0")
    shown = screen.file.getvalue()
    assert "PGD-10 − Square +3.0" in shown
    assert "64/96" in shown


def test_somebody_who_waits_sees_something_at_once(monkeypatch):
    screen = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr("rich.console.Console", lambda **_: screen)
    with waiting.working("[/x]:x:model.pt: reading\x1b"):
        pass
    assert "[/x]:x:model.pt: reading�" in screen.file.getvalue()
