"""The harness itself: it sees what it is to see."""

from __future__ import annotations

from tests.hostile.harness import Hostile, Outcome


def test_a_command_runs_as_on_the_command_line(hostile: Hostile) -> None:
    shown = hostile.run("--version")
    assert shown.code == 0 and shown.out.startswith("robaudit ") and not shown.err
    hostile.refused(hostile.run("inspect", hostile.folder / "nothing.pt"))


def test_what_is_a_fault(hostile: Hostile) -> None:
    def faults(**changes: object) -> str:
        good = {"code": 2, "late": False, "out": "", "err": "a.pt: no\n", "seconds": 1.0, "megabytes": 400}
        return hostile.faults(Outcome(**{**good, **changes}))  # type: ignore[arg-type]

    assert not faults()
    assert "exit 0" in faults(code=0) and "exit -11" in faults(code=-11)
    assert "did not end" in faults(late=True, code=-9)
    assert "lines" in faults(err="") and "lines" in faults(err="a\nb\nc\n")
    assert "foresaw" in faults(err="Traceback\n") and "control" in faults(err="\x1b[31m\n")
    assert "MB" in faults(megabytes=10_000)
    hostile.canary.touch()
    assert "canary" in faults() and not faults()
