"""A command that is stopped says so, and what is kept; one that goes on says how far it had come."""

import os
import signal

import pytest

from robaudit.cli import run
from robaudit.cli.auditing import _tell_resumed
from robaudit.evidence import EvidenceFile
from tests.hostile.specimen import header, make_evidence
from tests.shipped import DISTILLED

CHECK = ["check", str(DISTILLED), "--dataset", "digits"]


@pytest.mark.parametrize(
    ("number", "code", "says"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
@pytest.mark.parametrize("command", [CHECK, ["compare", "a", "b"]])
def test_a_signal_is_told_in_one_line(number, code, says, command, capsys, monkeypatch, request):
    def stop(*_, **__):
        os.kill(os.getpid(), number)

    # A shell that starts its commands in the background has them ignore Ctrl-C.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, ignored))
    monkeypatch.setattr("robaudit.cli.check.AuditPlan.from_flags", stop)
    monkeypatch.setattr("robaudit.cli.compare.check_apart", stop)
    before = signal.getsignal(signal.SIGTERM)
    assert run(command) == code
    error = capsys.readouterr().err
    assert error.startswith(says)
    assert len(error.splitlines()) == 1
    assert ("the same command resumes it" in error) == (command is CHECK)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_resumed_audit_says_how_far_it_had_come(tmp_path, capsys):
    path = tmp_path / "a.evidence"
    make_evidence(path)
    _tell_resumed(path)
    assert capsys.readouterr().err == "", "it is finished"
    with EvidenceFile.create(path, header()) as file:
        file.update(finished=False)
    _tell_resumed(path)
    assert f"{path}: resuming, 40 of 40 examples already begun" in capsys.readouterr().err
    path.write_bytes(b"something else")
    _tell_resumed(path)
    assert capsys.readouterr().err == "", "whoever opens it to write tells"


def test_finished_evidence_where_nothing_can_be_written_is_shown_again(tmp_path, monkeypatch):
    from robaudit.audit.parts import finished_unwritable

    path = tmp_path / "a.evidence"
    make_evidence(path)
    assert finished_unwritable(path, header(), None) is None, "it can be resumed"
    before = path.read_bytes()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert len(finished_unwritable(path, header(), None)) == 40
    assert finished_unwritable(path, header(data=header().data | {"sha256": "other"}), None) is None
    assert path.read_bytes() == before
