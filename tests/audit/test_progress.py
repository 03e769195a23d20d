"""What is seen of an audit while it runs."""

import io
import time
from dataclasses import replace

import pytest
from rich.console import Console

from robaudit.audit import bars, outlook
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


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def told_left(work, clock, stages):
    """What an outlook says after every tenth of a known amount of work at a known speed."""
    said, spent = [], 0.0
    total = sum(examples * passes for _, examples, _, passes in stages)
    for name, examples, broken, passes in stages:
        work.begin(name, examples)
        for k in range(10):
            # The broken ones end first, as in the engine.
            lost = max(0, min(examples // 10, broken - k * (examples // 10)))
            work.advance(name, examples // 10, lost, examples * passes // 10)
            spent += examples * passes / 10
            clock.now = spent / 100
            said.append((work.seconds_left(), (total - spent) / 100))
    return said


def test_the_time_left_of_every_attack_together_is_near_the_truth_from_early_on():
    clock = Clock()
    work = outlook.Outlook(clock)
    work.expect({"pgd10": (1000, 22), "square": (1000, 5000), "apgd-t": (1000, 1818)})
    # 40 % survive each: what a survivor takes, and a tenth of that for the others.
    said = told_left(
        work, clock, [("pgd10", 1000, 600, 22), ("square", 1000, 600, 2300), ("apgd-t", 1000, 600, 836)]
    )
    assert all(left == pytest.approx(truth, rel=0.25, abs=20) for left, truth in said[10:])
    assert said[-1][0] == 0


def test_the_time_left_of_an_audit_that_may_stop_does_not_jump_with_a_new_stretch():
    clock = Clock()
    work = outlook.Outlook(clock)
    said = []
    for k in range(1, 11):
        work.begin("square", 32)  # one more stretch, of which nothing was known
        clock.now += 10
        work.reach(32 * k, 320)
        if k > 1:
            said.append(work.seconds_left())
    assert said == pytest.approx([80 - 10 * k for k in range(9)])
    clock.now += 3
    assert work.time_left() == "about 5 s left"


def test_what_is_wanted_grows_with_the_confidence_that_is(audited):
    with EvidenceFile.open(audited / "masked.evidence") as file:
        evidence = file.read()
    done, wanted = outlook.examples_wanted(evidence)
    assert wanted <= done  # it is decided
    plan = replace(evidence.header.plan, confidence=1 - 1e-12)
    unsure = replace(evidence, header=replace(evidence.header, plan=plan))
    assert outlook.examples_wanted(unsure)[1] > done
